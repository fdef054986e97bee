/**
 * One serial line that comes and goes: its port is found by its address, opened, and after it vanished found and opened again with
 * backoff. Its bytes go to its driver, or to whoever takes it over for a while; others may listen in.
 *
 * Nothing more is read while the driver is behind, or beyond the byte budget; a line that trickles is read in gulps, not byte by byte. So
 * neither a slow commit nor a flood on this line costs the process more than its share.
 *
 * Errors: SERIAL_LINE_DOWN (it is away, or went), SERIAL_LINE_BUSY (somebody else has it, or its queue is full).
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { ByteBudget } from '../byte-budget.js';
import type { BytePort, OpenPort } from './byte-port.js';
import type { DriverPort, LineListener } from './driver-port.js';
import type { LineProgress, LineState, LineStatus } from './line-status.js';
import { PortHold } from './port-hold.js';
import { PortKeeper, type PortKeeperDeps, type PortKeeperHandlers } from './port-keeper.js';
import { type PortAddress, type PortSettings, usualSettings } from './port-settings.js';
import { type Tap, Traffic } from './traffic.js';
import { abortable, Turns } from './turns.js';

export interface SerialLineDeps extends PortKeeperDeps {
  /** Told of every other state, and of every other reason for one. */
  readonly onState?: (status: LineStatus) => void;
  /** Epoch ms. */
  readonly now?: () => number;
}

export interface SerialLineOptions {
  /** As it is called in messages, lists and by `holdfast serial monitor`: its device, or its bus. */
  readonly name: string;
  readonly address: PortAddress;
  readonly settings?: Partial<PortSettings>;
  /** Bytes a second this line may cost us; a physical line at 115,200 baud brings 11,520. */
  readonly maxBytesPerSecond?: number;
  /** How long to wait before the attempt with this number (from 1) after the line was found away. */
  readonly retryDelayMs?: (attempt: number) => number;
}

export interface TakeOverOptions {
  /** What for, as people read it: `flashing 2.0.0`. */
  readonly reason: string;
  readonly signal: AbortSignal;
}

/** Has the port for itself until it settles; the signal is of the line and of whoever asked. */
export type LineWork<T> = (
  port: BytePort,
  signal: AbortSignal,
  show: (progress: LineProgress) => void,
) => Promise<T>;

const usualBytesPerSecond = 65_536;
/** A dialogue is answered at once; what brings more pieces than this is read in gulps. */
const readsPerSecond = 100;

export class SerialLine implements DriverPort {
  readonly name: string;
  readonly settings: PortSettings;
  readonly #onState: (status: LineStatus) => void;
  readonly #now: () => number;
  readonly #address: PortAddress;
  readonly #maxBytesPerSecond: number;
  readonly #traffic: Traffic;
  readonly #keeper: PortKeeper;
  /** Of those who want the line for themselves. */
  readonly #turns = new Turns();
  readonly #awaitingPort = new Set<() => void>();
  #listener: LineListener = nobody;
  #port: OpenPort | null = null;
  #path: string | null = null;
  #hold: PortHold | null = null;
  #state: LineState = { state: 'down', reason: 'it was not looked for yet' };
  #since: number;
  #opened = 0;

  constructor(deps: SerialLineDeps, options: SerialLineOptions) {
    const { name, address, maxBytesPerSecond = usualBytesPerSecond, retryDelayMs } = options;
    this.name = name;
    this.settings = { ...usualSettings, ...options.settings };
    this.#address = address;
    this.#maxBytesPerSecond = maxBytesPerSecond;
    this.#onState = deps.onState ?? (() => undefined);
    this.#now = deps.now ?? Date.now;
    this.#traffic = new Traffic(this.#now);
    this.#since = this.#now();
    const handlers: PortKeeperHandlers = {
      up: (port, path) => this.#begin(port, path),
      down: (reason) => this.#end(reason),
      away: (problem) => this.#setState({ state: 'down', ...problem }),
    };
    this.#keeper = new PortKeeper(
      { ...deps, handlers },
      { address, settings: this.settings, ...(retryDelayMs && { retryDelayMs }) },
    );
  }

  get status(): LineStatus {
    return {
      name: this.name,
      address: this.#address,
      path: this.#path,
      settings: this.settings,
      state: this.#state,
      since: this.#since,
      opened: this.#opened,
      ...this.#traffic.counts,
    };
  }

  listen(listener: LineListener): void {
    this.#listener = listener;
  }

  /** Begins to keep the line open. Idempotent. */
  open(): void {
    this.#keeper.open();
  }

  /** Resolves when the port is closed and the driver was told. Idempotent. */
  async close(): Promise<void> {
    await this.#keeper.close();
  }

  /** Listens in on whatever passes, whoever has the line. Returns how to end it. */
  tap(listener: Tap): () => void {
    return this.#traffic.tap(listener);
  }

  /**
   * Has the line for `work` alone: waits for its turn and for the line to be up, tells the driver `suspended`, and gives the line back as
   * it was, as a new one. SERIAL_LINE_DOWN when it goes meanwhile; what `work` rejects with; the signal's reason.
   */
  async takeOver<T>(work: LineWork<T>, { reason, signal }: TakeOverOptions): Promise<T> {
    const either = AbortSignal.any([signal, this.#keeper.signal]);
    let endTurn: () => void = () => undefined;
    try {
      endTurn = await this.#turns.take(reason, either);
      return await this.#use(await this.#portFor(reason, either), work, either);
    } catch (error) {
      signal.throwIfAborted();
      throw either.aborted ? new HoldfastError('SERIAL_LINE_DOWN', 'The line was closed') : error;
    } finally {
      endTurn();
      this.#giveBack();
    }
  }

  /** The port, out of the driver's hands. */
  async #portFor(reason: string, signal: AbortSignal): Promise<OpenPort> {
    // It may be gone again when it was there: then the next one is waited for.
    while (this.#port === null) {
      let wake: () => void = () => undefined;
      const up = abortable(signal, (resolve) => {
        wake = resolve;
        this.#awaitingPort.add(wake);
      });
      await up.finally(() => this.#awaitingPort.delete(wake));
    }
    this.#suspend(reason);
    return this.#port;
  }

  async #use<T>(port: OpenPort, work: LineWork<T>, signal: AbortSignal): Promise<T> {
    const hold = new PortHold({ port, traffic: this.#traffic });
    this.#hold = hold;
    const ended = new AbortController();
    const gone = port.gone.then((reason): never => {
      const error = new HoldfastError('SERIAL_LINE_DOWN', `${this.name}: ${reason}`);
      ended.abort(error);
      throw error;
    });
    const show = (progress: LineProgress): void => {
      if (this.#hold === hold && this.#state.state === 'suspended') {
        this.#state = { ...this.#state, progress };
      }
    };
    try {
      return await Promise.race([work(hold, AbortSignal.any([signal, ended.signal]), show), gone]);
    } catch (error) {
      if (this.#port === port || isHoldfastError(error, 'SERIAL_LINE_DOWN')) throw error;
      throw new HoldfastError('SERIAL_LINE_DOWN', `${this.name}: ${await port.gone}`, {
        cause: error,
      });
    } finally {
      hold.revoke(new HoldfastError('SERIAL_LINE_BUSY', 'The line was given back'));
      await this.#restore(port, hold);
    }
  }

  /** As it was: what its holder changed is not for the driver to guess. */
  async #restore(port: OpenPort, { traces }: PortHold): Promise<void> {
    if (this.#port !== port) return;
    try {
      if (traces.hasChanged) await port.change(this.settings);
      if (traces.hasMoved) await port.setModemLines({ dtr: true, rts: true });
    } catch (error) {
      port.fail(messageOf(error));
    }
  }

  #suspend(reason: string): void {
    if (this.#state.state !== 'suspended') {
      this.#hold?.revoke(new HoldfastError('SERIAL_LINE_BUSY', `${this.name}: ${reason}`));
      this.#hold = null;
      this.#setState({ state: 'suspended', reason });
      this.#tell(() => this.#listener.suspended(reason));
    } else this.#setState({ state: 'suspended', reason });
  }

  /** To the next who waits for it, who takes it as it is; else to the driver. */
  #giveBack(): void {
    const port = this.#port;
    if (port === null || this.#turns.first !== undefined) return;
    if (this.#state.state === 'suspended') this.#lend(port);
  }

  #lend(port: OpenPort): void {
    const bytes = new ByteBudget(this.#maxBytesPerSecond);
    const reads = new ByteBudget(
      this.#listener.isDialogue === true ? Number.MAX_SAFE_INTEGER : readsPerSecond,
    );
    const hold = new PortHold({
      port,
      traffic: this.#traffic,
      pauseAfter: (count) => Math.max(bytes.spend(count), reads.spend(1)),
    });
    this.#hold = hold;
    this.#setState({ state: 'up' });
    this.#tell(() => this.#listener.up(hold));
  }

  #begin(port: OpenPort, path: string): void {
    this.#opened += 1;
    this.#port = port;
    this.#path = path;
    port.onBytes((bytes) => {
      this.#traffic.passed('in', bytes);
      return this.#hold?.receive(bytes);
    });
    // Whoever waits for it has it before the driver.
    const waiting = this.#turns.first;
    if (waiting === undefined) this.#lend(port);
    else this.#suspend(waiting);
    for (const wake of this.#awaitingPort) wake();
  }

  #end(reason: string): void {
    this.#port = null;
    this.#hold?.revoke(new HoldfastError('SERIAL_LINE_DOWN', `${this.name}: ${reason}`));
    this.#hold = null;
    this.#setState({ state: 'down', reason });
    this.#tell(() => this.#listener.down(reason));
  }

  /** A state with another reason is news too; only another state begins anew. */
  #setState(state: LineState): void {
    const before = this.#state;
    this.#state = state;
    const isSame = before.state === state.state;
    if (!isSame) this.#since = this.#now();
    if (!isSame || reasonOf(before) !== reasonOf(state)) this.#onState(this.status);
  }

  /** A driver that fails on being told so costs its own line alone. */
  #tell(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#port?.fail(messageOf(error));
    }
  }
}

const nobody: LineListener = {
  up: () => undefined,
  down: () => undefined,
  suspended: () => undefined,
};

const reasonOf = (state: LineState): string => (state.state === 'up' ? '' : state.reason);
