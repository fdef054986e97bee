/**
 * Which devices are there, of those that only ask now and then: one that asks is there until it has missed two of its times. What it may be
 * offered, and what of the site's places it takes, goes by that.
 */
import type { DeviceFacts } from '../../devices/device.js';

export interface DdiPresenceDeps {
  readonly devices: {
    connected(device: string, session: string, facts?: DeviceFacts): void;
    disconnected(device: string, session: string): void;
    seen(device: string): void;
  };
  /** Ms that never run back. */
  readonly monotonic: () => number;
}

interface Presence {
  readonly session: string;
  until: number;
}

const lookEveryMs = 10_000;
/** An answer, a slow line, a busy device. */
const graceMs = 60_000;

export class DdiPresence {
  readonly #deps: DdiPresenceDeps;
  readonly #present = new Map<string, Presence>();
  #timer: NodeJS.Timeout | undefined;
  #sessions = 0;

  constructor(deps: DdiPresenceDeps) {
    this.#deps = deps;
  }

  open(): void {
    this.#timer ??= setInterval(() => this.look(), lookEveryMs).unref();
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    for (const device of this.#present.keys()) this.left(device);
  }

  /** It asked, or is under way, and will ask again after so long. Returns whether it was away. */
  asked(device: string, sleepMs: number): boolean {
    const { devices, monotonic } = this.#deps;
    const until = monotonic() + 2 * sleepMs + graceMs;
    const known = this.#present.get(device);
    if (known !== undefined) {
      known.until = until;
      devices.seen(device);
      return false;
    }
    this.#sessions += 1;
    const session = `ddi:${this.#sessions}`;
    this.#present.set(device, { session, until });
    devices.connected(device, session, { door: 'ddi' });
    return true;
  }

  isThere(device: string): boolean {
    return this.#present.has(device);
  }

  left(device: string): void {
    const known = this.#present.get(device);
    if (known === undefined) return;
    this.#present.delete(device);
    this.#deps.devices.disconnected(device, known.session);
  }

  /** Called by its own timer. */
  look(): void {
    const now = this.#deps.monotonic();
    for (const [device, { until }] of this.#present) if (until <= now) this.left(device);
  }
}
