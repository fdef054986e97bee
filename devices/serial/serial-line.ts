/**
 * One serial line that comes and goes: opened again with backoff after it vanished, read in bounded memory, written with a deadline.
 *
 * Lines are handed over one after the other; while the handler is behind, or more bytes arrive than the budget allows, the port is
 * paused, so that neither a slow commit nor a flood on this line costs the process more than its share.
 *
 * Errors: `SERIAL_LINE_DOWN` (write while the line is away, or that it did not take in time), `SERIAL_LINE_BUSY` (its queue is full).
 */
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { SerialPort } from 'serialport';
import { ByteBudget } from './byte-budget.js';
import { type FramingCounts, LineFramer } from './line-framer.js';

export interface SerialLineOptions {
  readonly path: string;
  readonly baudRate?: number;
  readonly maxLineBytes?: number;
  /** Bytes a second this line may cost us; a physical line at 115,200 baud brings 11,520. */
  readonly maxBytesPerSecond?: number;
  readonly writeTimeoutMs?: number;
  /** How long to wait before the attempt with this number (from 1) after the line was found away. */
  readonly retryDelayMs?: (attempt: number) => number;
}

export interface SerialLineHandlers {
  readonly up: () => void;
  readonly down: (reason: string) => void;
  /** Rejections are the handler's own to prevent; one that gets here closes the line and opens it again. */
  readonly line: (text: string) => Promise<void>;
}

const maxPendingLines = 64;
const maxPendingWriteBytes = 65_536;
const closeTimeoutMs = 1_000;
const presenceCheckMs = 500;
/** A line that held this long was there, one that did not is flapping: its retries go on getting rarer. */
const steadyAfterMs = 5_000;

export class SerialLine {
  readonly #handlers: SerialLineHandlers;
  readonly #path: string;
  readonly #baudRate: number;
  readonly #maxBytesPerSecond: number;
  readonly #writeTimeoutMs: number;
  readonly #retryDelayMs: (attempt: number) => number;
  readonly #framer: LineFramer;
  readonly #closing = new AbortController();
  #connection: Connection | null = null;
  #running: Promise<void> | null = null;

  constructor(handlers: SerialLineHandlers, options: SerialLineOptions) {
    this.#handlers = handlers;
    this.#path = options.path;
    this.#baudRate = options.baudRate ?? 115_200;
    this.#maxBytesPerSecond = options.maxBytesPerSecond ?? 65_536;
    this.#writeTimeoutMs = options.writeTimeoutMs ?? 5_000;
    this.#retryDelayMs = options.retryDelayMs ?? defaultRetryDelayMs;
    this.#framer = new LineFramer({ maxLineBytes: options.maxLineBytes ?? 4_096 });
  }

  get isUp(): boolean {
    return this.#connection !== null;
  }

  get counts(): FramingCounts {
    return this.#framer.counts;
  }

  /** Begins to keep the line open; whether it is there yet, `up` says. */
  open(): void {
    this.#running ??= this.#keepOpen();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Resolves when the port took the text; the far end may still never read it. */
  async write(text: string): Promise<void> {
    if (this.#connection === null) {
      throw new HoldfastError('SERIAL_LINE_DOWN', `${this.#path} is away`);
    }
    await this.#connection.write(text, this.#writeTimeoutMs);
  }

  async #keepOpen(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      const connection = await Connection.open(this.#path, this.#baudRate).catch(() => null);
      if (connection !== null && !signal.aborted) {
        const openedAt = performance.now();
        await this.#serve(connection, signal);
        if (performance.now() - openedAt > steadyAfterMs) attempt = 0;
      } else await connection?.close();
      await delay(this.#retryDelayMs(attempt), undefined, { signal }).catch(() => undefined);
    }
  }

  async #serve(connection: Connection, signal: AbortSignal): Promise<void> {
    const end = () => connection.fail('closed by us');
    signal.addEventListener('abort', end, { once: true });
    this.#framer.reset();
    this.#connection = connection;
    this.#handlers.up();
    const reading = connection
      .read(this.#framer, this.#maxBytesPerSecond, this.#handlers.line)
      .catch((error: unknown) => connection.fail(messageOf(error)));
    const reason = await connection.gone;
    signal.removeEventListener('abort', end);
    this.#connection = null;
    await connection.close();
    await reading;
    this.#handlers.down(reason);
  }
}

/** One opening of the port, until it is gone. */
class Connection {
  readonly #port: SerialPort;
  /** Resolves once with the reason: `close` can come twice, and a write may be what notices. */
  readonly gone: Promise<string>;
  #resolveGone: (reason: string) => void = () => undefined;
  #isGone = false;
  #pendingWriteBytes = 0;
  #pauses = 0;
  #presence: NodeJS.Timeout | null = null;

  private constructor(port: SerialPort) {
    this.#port = port;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    port.on('close', (error: Error | null | undefined) => this.fail(error?.message ?? 'closed'));
    port.on('error', (error: Error) => this.fail(error.message));
  }

  static async open(path: string, baudRate: number): Promise<Connection> {
    const port = new SerialPort({ path, baudRate, autoOpen: false });
    const connection = new Connection(port);
    await new Promise<void>((resolve, reject) => {
      port.open((error) => (error ? reject(error) : resolve()));
    });
    connection.#watchPresence(path, await nodeIdentity(path));
    return connection;
  }

  /**
   * The port's name is watched, since the port itself may not tell: reading a terminal that hung up gives no bytes and no error, and
   * serialport then reads again at once, for ever.
   */
  #watchPresence(path: string, identity: string): void {
    this.#presence = setInterval(() => {
      void nodeIdentity(path).then((now) => {
        if (now !== identity) this.fail('the port vanished');
      });
    }, presenceCheckMs);
  }

  fail(reason: string): void {
    this.#isGone = true;
    this.#resolveGone(reason);
  }

  /** Reads until the line is gone; whoever stops reading a port is never told that its far end died. */
  async read(
    framer: LineFramer,
    maxBytesPerSecond: number,
    handle: (text: string) => Promise<void>,
  ): Promise<void> {
    const pending: string[] = [];
    let wake: () => void = () => undefined;
    let isFull = false;
    const budget = new ByteBudget(maxBytesPerSecond);
    this.#port.on('data', (chunk: Buffer) => {
      pending.push(...framer.push(chunk));
      wake();
      if (!isFull && pending.length >= maxPendingLines) {
        isFull = true;
        this.#pause();
      }
      const waitMs = budget.spend(chunk.length);
      if (waitMs > 0) {
        this.#pause();
        setTimeout(() => this.#resume(), waitMs).unref();
      }
    });
    const gone = this.gone.then(() => wake());
    while (!this.#isGone) {
      const line = pending.shift();
      if (line === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (this.#isGone) resolve();
        });
        continue;
      }
      await handle(line);
      if (isFull && pending.length <= maxPendingLines / 2) {
        isFull = false;
        this.#resume();
      }
    }
    await gone;
  }

  /** Raced against the line's end and a deadline: serialport never calls back for a write whose far end died. */
  async write(text: string, timeoutMs: number): Promise<void> {
    const bytes = Buffer.from(text);
    if (this.#isGone) throw new HoldfastError('SERIAL_LINE_DOWN', 'The serial line is away');
    if (this.#pendingWriteBytes + bytes.length > maxPendingWriteBytes) {
      throw new HoldfastError('SERIAL_LINE_BUSY', 'The serial line takes no more for now');
    }
    this.#pendingWriteBytes += bytes.length;
    const timer = setTimeout(() => this.fail('it took no bytes in time'), timeoutMs);
    try {
      const written = new Promise<null>((resolve, reject) => {
        this.#port.write(bytes, (error) => (error ? reject(error) : resolve(null)));
      });
      const reason = await Promise.race([written, this.gone]).catch(messageOf);
      if (reason !== null) throw new HoldfastError('SERIAL_LINE_DOWN', `Not written: ${reason}`);
    } finally {
      clearTimeout(timer);
      this.#pendingWriteBytes -= bytes.length;
    }
  }

  async close(): Promise<void> {
    this.fail('closed by us');
    if (this.#presence !== null) clearInterval(this.#presence);
    if (!this.#port.isOpen) return;
    const closed = new Promise<void>((resolve) => {
      this.#port.close(() => resolve());
    });
    const timeout = new AbortController();
    await Promise.race([
      closed,
      delay(closeTimeoutMs, undefined, { signal: timeout.signal }).catch(() => undefined),
    ]);
    timeout.abort();
  }

  #pause(): void {
    this.#pauses += 1;
    if (this.#pauses === 1) this.#port.pause();
  }

  #resume(): void {
    this.#pauses -= 1;
    if (this.#pauses === 0 && !this.#isGone) this.#port.resume();
  }
}

/** Which device node the name leads to; a node made anew under an old name is another. */
const nodeIdentity = async (path: string): Promise<string> => {
  const found = await stat(path).catch(() => null);
  return found === null
    ? ''
    : `${String(found.rdev)}:${String(found.ino)}:${String(found.ctimeMs)}`;
};

/** Full jitter up to 5 s: a line that a person plugs in again should not make them wait. */
const defaultRetryDelayMs = (attempt: number): number =>
  Math.random() * Math.min(5_000, 100 * 2 ** Math.min(attempt, 10));
