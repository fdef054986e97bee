/** The gateway's time on this device: a Pi without a clock battery starts in the past. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { parseTimeNow } from '@holdfast/protos/mqtt/time-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';

export class GatewayTime {
  readonly #session: Pick<DeviceSession, 'publish'>;
  readonly #log: Log;
  readonly #device: string;
  #offsetMs = 0;

  constructor(
    deps: { readonly session: Pick<DeviceSession, 'publish'>; readonly log: Log },
    options: { readonly device: string },
  ) {
    this.#session = deps.session;
    this.#log = deps.log;
    this.#device = options.device;
  }

  /** Epoch ms: the gateway's where it is trusted, else this machine's. */
  now(): number {
    return Math.round(Date.now() + this.#offsetMs);
  }

  connected(): void {
    this.#session
      .publish(buildTopic({ kind: 'time_get', device: this.#device }), {})
      .catch((error: unknown) => this.#log.info({ error: messageOf(error) }, 'no time'));
  }

  /** Half a second on the way changes nothing that is decided by it. */
  receive(payload: Uint8Array): void {
    const parsed = parseTimeNow(payload);
    if (parsed.ok && parsed.value.trusted) this.#offsetMs = parsed.value.ts - Date.now();
  }
}
