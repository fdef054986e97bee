/**
 * What passes on a serial line, shown over the local API: an answer that does not end, a JSON value a line. It listens in on the line and
 * never waits: what a reader is too slow for is counted instead of shown, so neither driver nor line know of it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SerialLine } from '@holdfast/devices/serial/port/serial-line';
import type { Direction } from '@holdfast/devices/serial/port/traffic';
import type { SerialMonitorLine } from '@holdfast/protos/local/serial';
import { type Exchange, OpenAnswers } from '../local/open-answers.js';

export interface SerialMonitorsDeps {
  /** Whether whoever asked may still listen in. */
  readonly isAllowed: (request: IncomingMessage) => boolean;
  /** Epoch ms. */
  readonly now: () => number;
}

export interface SerialMonitorsOptions {
  readonly maxMonitors?: number;
  /** A line comes at least so often. */
  readonly aliveMs?: number;
  /** A reader that takes nothing for so long is cut off. */
  readonly stalledMs?: number;
  /** What waits for a reader at most. */
  readonly maxWaitingBytes?: number;
}

export interface MonitorWish {
  readonly line: SerialLine;
  /** null: both. */
  readonly direction: Direction | null;
}

/** What a piece takes besides its bytes: a line may come by the byte. */
const pieceBytes = 64;
/** Pieces that come within it go out together. */
const gatherMs = 20;

export class SerialMonitors {
  readonly #deps: SerialMonitorsDeps;
  readonly #options: Required<SerialMonitorsOptions>;
  readonly #open: OpenAnswers;

  constructor(deps: SerialMonitorsDeps, options: SerialMonitorsOptions = {}) {
    this.#deps = deps;
    this.#options = {
      maxMonitors: 20,
      aliveMs: 15_000,
      stalledMs: 60_000,
      maxWaitingBytes: 262_144,
      ...options,
    };
    this.#open = new OpenAnswers({ name: 'monitors', most: this.#options.maxMonitors });
  }

  /** Answers until the reader goes, is no longer allowed to, or `close`. Errors: REQUEST_THROTTLED. */
  async answer({ request, response }: Exchange, wish: MonitorWish): Promise<void> {
    const isAllowed = (): boolean => this.#deps.isAllowed(request);
    await this.#open.answer({ response }, (signal) =>
      new Monitor({ response, isAllowed, now: this.#deps.now }, this.#options).run(wish, signal),
    );
  }

  /** Ends all of them. */
  close(): void {
    this.#open.close();
  }
}

interface MonitorDeps {
  readonly response: ServerResponse;
  readonly isAllowed: () => boolean;
  readonly now: () => number;
}

class Monitor {
  readonly #deps: MonitorDeps;
  readonly #options: Required<SerialMonitorsOptions>;
  #waiting: SerialMonitorLine[] = [];
  #waitingBytes = 0;
  #missed = { bytes_in: 0, bytes_out: 0 };
  #state = '';
  #timer: NodeJS.Timeout | undefined;
  #blockedSince: number | undefined;

  constructor(deps: MonitorDeps, options: Required<SerialMonitorsOptions>) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Resolves when it is over. */
  async run({ line, direction }: MonitorWish, signal: AbortSignal): Promise<void> {
    const { response } = this.#deps;
    const { state } = line.status;
    this.#state = stateKey(line);
    this.#waiting.push({ monitoring: { line: line.name, state: state.state } });
    this.#flush();
    const end = line.tap((passed, bytes, at) => {
      if (direction === null || passed === direction) this.#passed(passed, bytes, at);
    });
    const onDrain = (): void => {
      this.#blockedSince = undefined;
      this.#flush();
    };
    response.on('drain', onDrain);
    try {
      await this.#watch(line, signal);
    } finally {
      end();
      response.off('drain', onDrain);
      clearTimeout(this.#timer);
      this.#flush();
    }
  }

  /** Looks now and then at what nobody tells: the line's state, the reader, and what he may. */
  #watch(line: SerialLine, signal: AbortSignal): Promise<void> {
    const { aliveMs, stalledMs } = this.#options;
    return new Promise((resolve) => {
      let aliveAt = performance.now();
      const look = (): void => {
        const now = performance.now();
        const isStalled = this.#blockedSince !== undefined && now - this.#blockedSince > stalledMs;
        if (isStalled) this.#deps.response.destroy();
        this.#noteState(line);
        if (now - aliveAt >= aliveMs) {
          if (!this.#deps.isAllowed()) {
            over();
            return;
          }
          aliveAt = now;
          this.#waiting.push({ alive: this.#deps.now() });
        }
        this.#flush();
        if (isStalled) over();
      };
      const timer = setInterval(look, Math.min(500, aliveMs));
      const over = (): void => {
        clearInterval(timer);
        signal.removeEventListener('abort', over);
        resolve();
      };
      signal.addEventListener('abort', over, { once: true });
      if (signal.aborted) over();
    });
  }

  /** Within the line's own work: nothing here takes time or throws. */
  #passed(direction: Direction, bytes: Buffer, at: number): void {
    const cost = bytes.length + pieceBytes;
    if (this.#waitingBytes + cost > this.#options.maxWaitingBytes) {
      this.#missed[direction === 'in' ? 'bytes_in' : 'bytes_out'] += bytes.length;
      return;
    }
    this.#waiting.push({ at, direction, data: bytes.toString('base64') });
    this.#waitingBytes += cost;
    if (this.#blockedSince !== undefined) return;
    this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  #noteState(line: SerialLine): void {
    const key = stateKey(line);
    if (key === this.#state) return;
    this.#state = key;
    const { state } = line.status;
    this.#waiting.push({
      state: state.state,
      reason: state.state === 'up' ? null : state.reason,
    });
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { response } = this.#deps;
    if (this.#blockedSince !== undefined || response.writableEnded || response.destroyed) return;
    const { bytes_in, bytes_out } = this.#missed;
    if (bytes_in + bytes_out > 0) {
      this.#waiting.push({ missed: { bytes_in, bytes_out } });
      this.#missed = { bytes_in: 0, bytes_out: 0 };
    }
    if (this.#waiting.length === 0) return;
    const text = this.#waiting.map((line) => `${JSON.stringify(line)}\n`).join('');
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (!response.write(text)) this.#blockedSince = performance.now();
  }
}

const stateKey = (line: SerialLine): string => {
  const { state } = line.status;
  return state.state === 'up' ? 'up' : `${state.state} ${state.reason}`;
};
