/** The gateway's time on this device: a Pi without a clock battery starts in the past. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { parseTimeNow } from '@holdfast/protos/mqtt/time-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';

export interface GatewayTimeDeps {
  readonly session: Pick<DeviceSession, 'publish'>;
  readonly log: Log;
  /** This machine's. */
  readonly clock: Clock;
}

export class GatewayTime {
  readonly #deps: GatewayTimeDeps;
  readonly #device: string;
  /** The gateway's time at the start of the monotonic clock, which nobody sets: this machine's own time may be set any time. */
  #startedAt: number | null = null;

  constructor(deps: GatewayTimeDeps, options: { readonly device: string }) {
    this.#deps = deps;
    this.#device = options.device;
  }

  /** Epoch ms: the gateway's where it is trusted, else this machine's. */
  now(): number {
    const { clock } = this.#deps;
    return Math.round(this.#startedAt === null ? clock.now() : this.#startedAt + clock.monotonic());
  }

  /** Whether anything may be judged by it. */
  get isKnown(): boolean {
    return this.#startedAt !== null || this.#deps.clock.trusted;
  }

  connected(): void {
    const { session, log } = this.#deps;
    session
      .publish(buildTopic({ kind: 'time_get', device: this.#device }), {})
      .catch((error: unknown) => log.info({ error: messageOf(error) }, 'no time'));
  }

  /** Half a second on the way changes nothing that is decided by it. */
  receive(payload: Uint8Array): void {
    const parsed = parseTimeNow(payload);
    if (!parsed.ok || !parsed.value.trusted) return;
    this.#startedAt = parsed.value.ts - this.#deps.clock.monotonic();
  }
}
