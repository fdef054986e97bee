/**
 * One serial line that comes and goes: its port is found by its address, opened, and after it vanished found and opened again with
 * backoff. Its bytes go to its driver, or to whoever takes it over for a while; others may listen in.
 *
 * Nothing more is read while the driver is behind, or beyond the byte budget; a line that trickles is read in gulps, not byte by byte. So
 * neither a slow commit nor a flood on this line costs the process more than its share.
 *
 * Errors: SERIAL_LINE_DOWN (it is away, or went), SERIAL_LINE_BUSY (somebody else has it, or its queue is full).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { ByteBudget } from '../byte-budget.js';
import type { BytePort, OpenPort, PortOpener } from './byte-port.js';
import type { DriverPort, LineListener } from './driver-port.js';
import { explainPort } from './explain-port.js';
import { type FoundPort, findPort } from './find-port.js';
import type { LineProgress, LineState, LineStatus, PortProblem } from './line-status.js';
import { PortHold } from './port-hold.js';
import {
  addressText,
  type PortAddress,
  type PortSettings,
  usualSettings,
} from './port-settings.js';
import { openSystemPort } from './system-port.js';
import { type Tap, Traffic } from './traffic.js';

export interface SerialLineDeps {
  readonly openPort?: PortOpener;
  /** Where the address leads at the moment. */
  readonly findPort?: (address: PortAddress) => Promise<FoundPort | PortProblem>;
  /** Why a port could not be opened, for people. */
  readonly explain?: (path: string, error: unknown) => Promise<PortProblem>;
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

/** A line that held this long was there, one that did not is flapping: its retries go on getting rarer. */
const steadyAfterMs = 5_000;
const usualBytesPerSecond = 65_536;
/** A dialogue is answered at once; what brings more pieces than this is read in gulps. */
const readsPerSecond = 100;

export class SerialLine implements DriverPort {
  readonly name: string;
  readonly #deps: Required<SerialLineDeps>;
  readonly #address: PortAddress;
  readonly #settings: PortSettings;
  readonly #maxBytesPerSecond: number;
  readonly #retryDelayMs: (attempt: number) => number;
  readonly #traffic: Traffic;
  readonly #closing = new AbortController();
  #listener: LineListener = nobody;
  #running: Promise<void> | null = null;
  #port: OpenPort | null = null;
  #path: string | null = null;
  #hold: PortHold | null = null;
  #state: LineState = { state: 'down', reason: 'it was not looked for yet' };
  #since: number;
  #opened = 0;
  /** Those who want the line for themselves, the first of whom has it. */
  readonly #takers: string[] = [];
  #turn: Promise<void> = Promise.resolve();
  readonly #awaitingPort = new Set<() => void>();

  constructor(deps: SerialLineDeps, options: SerialLineOptions) {
    this.name = options.name;
    this.#deps = {
      openPort: deps.openPort ?? openSystemPort,
      findPort: deps.findPort ?? (deps.openPort === undefined ? findPort : asNamed),
      explain: deps.explain ?? explainPort,
      onState: deps.onState ?? (() => undefined),
      now: deps.now ?? Date.now,
    };
    this.#address = options.address;
    this.#settings = { ...usualSettings, ...options.settings };
    this.#maxBytesPerSecond = options.maxBytesPerSecond ?? usualBytesPerSecond;
    this.#retryDelayMs = options.retryDelayMs ?? usualRetryDelayMs;
    this.#traffic = new Traffic(this.#deps.now);
    this.#since = this.#deps.now();
  }

  get status(): LineStatus {
    return {
      name: this.name,
      address: this.#address,
      path: this.#path,
      settings: this.#settings,
      state: this.#state,
      since: this.#since,
      opened: this.#opened,
      ...this.#traffic.counts,
    };
  }

  get settings(): PortSettings {
    return this.#settings;
  }

  listen(listener: LineListener): void {
    this.#listener = listener;
  }

  /** Begins to keep the line open. Idempotent. */
  open(): void {
    this.#running ??= this.#keepOpen();
  }

  /** Resolves when the port is closed and the driver was told. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
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
    signal.throwIfAborted();
    const before = this.#turn;
    let pass: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => {
      pass = resolve;
    });
    this.#turn = before.then(() => mine);
    this.#takers.push(reason);
    const either = AbortSignal.any([signal, this.#closing.signal]);
    try {
      await orAborted(before, either);
      return await this.#use(await this.#portFor(reason, either), work, either);
    } catch (error) {
      signal.throwIfAborted();
      throw either.aborted ? new HoldfastError('SERIAL_LINE_DOWN', 'The line was closed') : error;
    } finally {
      this.#takers.splice(this.#takers.indexOf(reason), 1);
      pass();
      this.#giveBack();
    }
  }

  /** The port, out of the driver's hands. */
  async #portFor(reason: string, signal: AbortSignal): Promise<OpenPort> {
    if (this.#port === null) {
      let wake: () => void = () => undefined;
      const up = new Promise<void>((resolve) => {
        wake = resolve;
      });
      this.#awaitingPort.add(wake);
      await orAborted(up, signal).finally(() => this.#awaitingPort.delete(wake));
      // It may be gone again: then the next one is waited for.
      return this.#portFor(reason, signal);
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
      if (traces.hasChanged) await port.change(this.#settings);
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
    if (port === null || this.#takers.length > 0 || this.#state.state !== 'suspended') return;
    this.#lend(port);
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

  async #keepOpen(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      const port = await this.#openPort();
      if (port !== null && !signal.aborted) {
        const openedAt = performance.now();
        await this.#serve(port, signal);
        if (performance.now() - openedAt > steadyAfterMs) attempt = 0;
      } else await port?.close();
      await delay(this.#retryDelayMs(attempt), undefined, { signal }).catch(() => undefined);
    }
  }

  async #openPort(): Promise<OpenPort | null> {
    const found = await this.#deps.findPort(this.#address);
    if ('reason' in found) {
      this.#setState({ state: 'down', ...found });
      return null;
    }
    try {
      const port = await this.#deps.openPort(found.path, this.#settings);
      this.#path = found.path;
      return port;
    } catch (error) {
      this.#setState({ state: 'down', ...(await this.#deps.explain(found.path, error)) });
      return null;
    }
  }

  async #serve(port: OpenPort, signal: AbortSignal): Promise<void> {
    const end = (): void => port.fail('closed by us');
    signal.addEventListener('abort', end, { once: true });
    this.#opened += 1;
    this.#port = port;
    port.onBytes((bytes) => {
      this.#traffic.passed('in', bytes);
      return this.#hold?.receive(bytes);
    });
    const [waiting] = this.#takers;
    if (waiting === undefined) this.#lend(port);
    else this.#suspend(waiting);
    for (const wake of this.#awaitingPort) wake();
    const reason = await port.gone;
    signal.removeEventListener('abort', end);
    this.#port = null;
    this.#hold?.revoke(new HoldfastError('SERIAL_LINE_DOWN', `${this.name}: ${reason}`));
    this.#hold = null;
    await port.close();
    this.#setState({ state: 'down', reason });
    this.#tell(() => this.#listener.down(reason));
  }

  /** A state with another reason is news too; only another state begins anew. */
  #setState(state: LineState): void {
    const before = this.#state;
    this.#state = state;
    const isSame = before.state === state.state;
    if (!isSame) this.#since = this.#deps.now();
    if (!isSame || reasonOf(before) !== reasonOf(state)) this.#deps.onState(this.status);
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

/** Where the opener is not the system's, names are its own. */
const asNamed = async (address: PortAddress): Promise<FoundPort> => ({
  path: addressText(address),
});
/** Full jitter up to 5 s: a line that a person plugs in again should not make them wait. */
const usualRetryDelayMs = (attempt: number): number =>
  Math.random() * Math.min(5_000, 100 * 2 ** Math.min(attempt, 10));

const orAborted = async <T>(work: Promise<T>, signal: AbortSignal): Promise<T> => {
  signal.throwIfAborted();
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
};
