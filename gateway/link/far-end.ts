/**
 * Notices that the control plane can be reached again, so that the link need not sit out its back-off: while the link waits, it is asked
 * for a bare connection every few seconds. Only one that comes after others failed counts, so that a far end which accepts connections
 * and then refuses is left to the back-off; and it is not gone to at once, since ten thousand sites may have noticed the same.
 */
import { connect, type Socket } from 'node:net';
import { wait } from '@holdfast/provisioning/time/wait';
import { type ConnectProxy, connectThrough } from '@holdfast/provisioning/transfer/connect-proxy';

/** Whether a connection comes about. Never rejects. */
export type Probe = (signal: AbortSignal) => Promise<boolean>;

export interface FarEndDeps {
  readonly probe: Probe;
  /** Uniform in [0, 1). */
  readonly entropy?: () => number;
}

export interface FarEndOptions {
  /** Mean time between two questions. */
  readonly everyMs?: number;
  /** Sites that notice at the same moment come back within this time. */
  readonly spreadMs?: number;
}

export class FarEnd {
  readonly #probe: Probe;
  readonly #entropy: () => number;
  readonly #everyMs: number;
  readonly #spreadMs: number;
  /** It has been out of reach since it was last found to be back. */
  #wasAway = false;
  #watching: AbortController | undefined;

  constructor(
    { probe, entropy = Math.random }: FarEndDeps,
    { everyMs = 2_000, spreadMs = 3_000 }: FarEndOptions = {},
  ) {
    this.#probe = probe;
    this.#entropy = entropy;
    this.#everyMs = everyMs;
    this.#spreadMs = spreadMs;
  }

  /** Asks until it is back, and tells then, once; replaces a watch before. */
  watch(onBack: () => void): void {
    this.stop();
    const watching = new AbortController();
    this.#watching = watching;
    this.#watch(watching.signal, onBack).catch((error: unknown) => {
      if (!watching.signal.aborted) throw error;
    });
  }

  /** Idempotent. */
  stop(): void {
    this.#watching?.abort();
    this.#watching = undefined;
  }

  async #watch(signal: AbortSignal, onBack: () => void): Promise<void> {
    for (;;) {
      await wait((0.5 + this.#entropy()) * this.#everyMs, signal);
      const isThere = await this.#probe(signal);
      signal.throwIfAborted();
      if (isThere) break;
      this.#wasAway = true;
    }
    if (!this.#wasAway) return;
    this.#wasAway = false;
    await wait(this.#entropy() * this.#spreadMs, signal);
    onBack();
  }
}

const timeoutMs = 5_000;
/** Who has nothing behind him closes a connection at once: a proxy, a balancer, a line that is cut. */
const steadyMs = 250;

/** A connection to `address` (`host:port`) in which nothing is said. */
export const probeOf =
  (address: string, via: ConnectProxy | undefined): Probe =>
  async (signal) => {
    const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const to = { host, port: Number(address.slice(address.lastIndexOf(':') + 1)) };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const socket = via === undefined ? connect(to) : await connectThrough(via, to, limit);
      return await holds(socket, limit);
    } catch {
      return false;
    }
  };

const holds = (socket: Socket, limit: AbortSignal): Promise<boolean> =>
  new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    const settle = (isThere: boolean): void => {
      clearTimeout(timer);
      limit.removeEventListener('abort', giveUp);
      socket.destroy();
      resolve(isThere);
    };
    const giveUp = () => settle(false);
    const begin = (): void => {
      timer = setTimeout(() => settle(true), steadyMs);
    };
    socket.on('error', giveUp);
    // What was read is thrown away; the end is heard of only so.
    socket.resume();
    socket.once('end', giveUp);
    socket.once('close', giveUp);
    if (limit.aborted) settle(false);
    else limit.addEventListener('abort', giveUp, { once: true });
    if (socket.connecting) socket.once('connect', begin);
    else begin();
  });
