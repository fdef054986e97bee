/** A line's port as it is lent to one holder, until it is taken back: the holder may keep it, but does nothing with it any more. */
import type { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { BytePort, BytesListener, ModemLines } from './byte-port.js';
import type { PortSettings } from './port-settings.js';
import type { Traffic } from './traffic.js';

export interface PortHoldDeps {
  readonly port: BytePort;
  readonly traffic: Traffic;
  /** How long to read nothing after so many bytes, in ms. */
  readonly pauseAfter?: (bytes: number) => number;
}

export class PortHold implements BytePort {
  readonly gone: Promise<string>;
  readonly #deps: PortHoldDeps;
  #resolveGone: (reason: string) => void = () => undefined;
  #listener: BytesListener | null = null;
  #revoked: HoldfastError | null = null;
  #hasChanged = false;
  #hasMoved = false;
  #release: (() => void) | null = null;
  #pause: NodeJS.Timeout | null = null;

  constructor(deps: PortHoldDeps) {
    this.#deps = deps;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
  }

  /** Whether its holder left other settings, or moved the modem lines. */
  get traces(): { readonly hasChanged: boolean; readonly hasMoved: boolean } {
    return { hasChanged: this.#hasChanged, hasMoved: this.#hasMoved };
  }

  onBytes(listener: BytesListener | null): void {
    this.#listener = listener;
  }

  async write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#check();
    await this.#deps.port.write(bytes, signal);
    // Before its writer goes on, and may use the bytes again; what was refused never passed.
    this.#deps.traffic.passed('out', bytes);
  }

  async drain(): Promise<void> {
    this.#check();
    await this.#deps.port.drain();
  }

  async change(settings: Partial<PortSettings>): Promise<void> {
    this.#check();
    this.#hasChanged = true;
    await this.#deps.port.change(settings);
  }

  async setModemLines(lines: ModemLines): Promise<boolean> {
    this.#check();
    this.#hasMoved = true;
    return await this.#deps.port.setModemLines(lines);
  }

  /** What the port brought, for whoever listens. Resolves when more can be taken; at once when the hold ends. */
  receive(bytes: Buffer): void | Promise<void> {
    const taken = this.#listener?.(bytes);
    const pauseMs = this.#deps.pauseAfter?.(bytes.length) ?? 0;
    if (taken === undefined && pauseMs <= 0) return;
    return new Promise((resolve, reject) => {
      this.#release = resolve;
      const paused = (): void => {
        if (pauseMs <= 0 || this.#revoked !== null) resolve();
        else this.#pause = setTimeout(resolve, pauseMs);
      };
      if (taken === undefined) paused();
      else taken.then(paused, reject);
    });
  }

  /** What its holder does from now on is refused with the error. */
  revoke(error: HoldfastError): void {
    if (this.#revoked !== null) return;
    this.#revoked = error;
    this.#listener = null;
    if (this.#pause !== null) clearTimeout(this.#pause);
    this.#release?.();
    this.#resolveGone(error.message);
  }

  #check(): void {
    if (this.#revoked !== null) throw this.#revoked;
  }
}
