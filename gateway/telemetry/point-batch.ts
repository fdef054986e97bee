/** Points that are stored by one write: those of one turn of the event loop, or as many as one write should hold. */
import type { Append } from '@holdfast/provisioning/storage/write';
import { encodePoint, type TelemetryPoint } from './point.js';
import { telemetryEntries } from './telemetry-schema.js';

/** What a row takes beside its body: number, time, kind, headers. */
export const rowOverhead = 32;
const maxPoints = 256;
const maxBytes = 256 * 1024;

export interface EncodedPoint {
  readonly point: TelemetryPoint;
  readonly body: string;
}

export class PointBatch {
  readonly entries: EncodedPoint[] = [];
  readonly write: Append[] = [];
  /** Resolves when its points are on disk. */
  readonly stored: Promise<void>;
  readonly #onSent: () => void;
  #send: () => void = () => undefined;
  #bytes = 0;

  /** `store` is called once, after the turn or with `send`; `onSent` as soon as no point may be added any more. */
  constructor(store: () => Promise<void>, onSent: () => void) {
    this.#onSent = onSent;
    const sent = new Promise<void>((resolve) => {
      this.#send = resolve;
    });
    this.stored = sent.then(store);
    setImmediate(() => this.send());
  }

  add(entry: EncodedPoint, at: number): void {
    this.entries.push(entry);
    this.write.push({ into: telemetryEntries, row: [at, 'point', entry.body] });
    this.#bytes += entry.body.length + rowOverhead;
  }

  get isFull(): boolean {
    return this.entries.length >= maxPoints || this.#bytes >= maxBytes;
  }

  send(): void {
    this.#onSent();
    this.#send();
  }
}

export const encode = (point: TelemetryPoint): EncodedPoint => ({
  point,
  body: encodePoint(point),
});
