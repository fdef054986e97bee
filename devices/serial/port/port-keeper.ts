/**
 * Keeps a port open by its address: found, opened, and after it went found and opened again, rarer and rarer where it does not hold, with
 * the reason told each time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { OpenPort, PortOpener } from './byte-port.js';
import { explainPort } from './explain-port.js';
import { type FoundPort, findPort } from './find-port.js';
import type { PortProblem } from './line-status.js';
import { addressText, type PortAddress, type PortSettings } from './port-settings.js';
import { openSystemPort } from './system-port.js';

export interface PortKeeperDeps {
  readonly openPort?: PortOpener;
  /** Where the address leads at the moment. */
  readonly findPort?: (address: PortAddress) => Promise<FoundPort | PortProblem>;
  /** Why a port could not be opened, for people. */
  readonly explain?: (path: string, error: unknown) => Promise<PortProblem>;
}

export interface PortKeeperOptions {
  readonly address: PortAddress;
  readonly settings: PortSettings;
  /** How long to wait before the attempt with this number (from 1) after the port was found away. */
  readonly retryDelayMs?: (attempt: number) => number;
}

export interface PortKeeperHandlers {
  readonly up: (port: OpenPort, path: string) => void;
  /** It was up and is gone. */
  readonly down: (reason: string) => void;
  /** It can't be had. */
  readonly away: (problem: PortProblem) => void;
}

/** A port that held this long was there, one that did not is flapping: its retries go on getting rarer. */
const steadyAfterMs = 5_000;

export class PortKeeper {
  readonly #deps: Required<PortKeeperDeps>;
  readonly #handlers: PortKeeperHandlers;
  readonly #options: Required<PortKeeperOptions>;
  readonly #closing = new AbortController();
  #running: Promise<void> | null = null;

  constructor(
    { handlers, ...deps }: PortKeeperDeps & { readonly handlers: PortKeeperHandlers },
    options: PortKeeperOptions,
  ) {
    this.#handlers = handlers;
    this.#deps = {
      openPort: deps.openPort ?? openSystemPort,
      findPort: deps.findPort ?? (deps.openPort === undefined ? findPort : asNamed),
      explain: deps.explain ?? explainPort,
    };
    this.#options = { retryDelayMs: usualRetryDelayMs, ...options };
  }

  /** Aborted when it closes. */
  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** Idempotent. */
  open(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when the port is closed and `down` was told. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      const openedAt = performance.now();
      const wasUp = await this.#keepOne(signal);
      if (wasUp && performance.now() - openedAt > steadyAfterMs) attempt = 0;
      const delayMs = this.#options.retryDelayMs(attempt);
      await delay(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Until it is gone; false where it was not to be had. */
  async #keepOne(signal: AbortSignal): Promise<boolean> {
    const { address, settings } = this.#options;
    const found = await this.#deps.findPort(address).catch(asProblem);
    if ('reason' in found) {
      this.#handlers.away(found);
      return false;
    }
    let port: OpenPort;
    try {
      port = await this.#deps.openPort(found.path, settings);
    } catch (error) {
      this.#handlers.away(
        await this.#deps.explain(found.path, error).catch(() => asProblem(error)),
      );
      return false;
    }
    const isWanted = !signal.aborted;
    const end = (): void => port.fail('closed by us');
    signal.addEventListener('abort', end, { once: true });
    if (isWanted) this.#handlers.up(port, found.path);
    else end();
    const reason = await port.gone;
    signal.removeEventListener('abort', end);
    if (isWanted) this.#handlers.down(reason);
    await port.close();
    return isWanted;
  }
}

const asProblem = (error: unknown): PortProblem => ({ reason: messageOf(error) });

/** Where the opener is not the system's, names are its own. */
const asNamed = async (address: PortAddress): Promise<FoundPort> => ({
  path: addressText(address),
});

/** Full jitter up to 5 s: a line that a person plugs in again should not make them wait. */
const usualRetryDelayMs = (attempt: number): number =>
  Math.random() * Math.min(5_000, 100 * 2 ** Math.min(attempt, 10));
