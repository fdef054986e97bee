/**
 * How much of the journal may be under way: the window that the control plane gave, and within it a narrower one for telemetry, so
 * that a backlog of points never holds a status or an answer up for longer than about `targetMs`.
 *
 * Telemetry's part grows while its batches are acknowledged quickly and is halved when they are not (additive increase,
 * multiplicative decrease), and never takes more than half of the window.
 */
import type { LaneName } from '@holdfast/protos/link/journal-entries';

export interface SendWindowOptions {
  /** Bytes that may be under way, all lanes together. */
  readonly windowBytes: number;
  /** How long a batch of telemetry should take until it is acknowledged, ms. */
  readonly targetMs?: number;
}

interface UnderWay {
  readonly lastSeq: number;
  readonly bytes: number;
  readonly sentAt: number;
}

/** Less room than this is not worth a batch while others are under way. */
const leastRoom = 4 * 1024;
const step = 64 * 1024;
const leastPace = 32 * 1024;

export class SendWindow {
  readonly #windowBytes: number;
  readonly #targetMs: number;
  readonly #underWay: Record<LaneName, UnderWay[]> = { audit: [], state: [], telemetry: [] };
  #bytes = 0;
  #telemetryBytes = 0;
  #pace = 256 * 1024;

  constructor({ windowBytes, targetMs = 1000 }: SendWindowOptions) {
    this.#windowBytes = windowBytes;
    this.#targetMs = targetMs;
  }

  /** Bytes sent and not yet acknowledged. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The pace of telemetry: bytes of it that may be under way. */
  get telemetryLimit(): number {
    return Math.min(this.#pace, Math.floor(this.#windowBytes / 2));
  }

  /** Bytes that a batch of the lane may have now; 0 when it has to wait. */
  room(lane: LaneName): number {
    // One batch may always be under way, however small the window: else nothing would ever move.
    if (this.#bytes === 0)
      return Math.max(1, lane === 'telemetry' ? this.telemetryLimit : this.#windowBytes);
    const total = this.#windowBytes - this.#bytes;
    const room =
      lane === 'telemetry' ? Math.min(total, this.telemetryLimit - this.#telemetryBytes) : total;
    return room >= Math.min(leastRoom, this.#windowBytes / 4) ? room : 0;
  }

  sent(lane: LaneName, lastSeq: number, bytes: number, now: number): void {
    this.#underWay[lane].push({ lastSeq, bytes, sentAt: now });
    this.#bytes += bytes;
    if (lane === 'telemetry') this.#telemetryBytes += bytes;
  }

  /** Everything of the lane up to `seq` arrived. */
  committed(lane: LaneName, seq: number, now: number): void {
    const queue = this.#underWay[lane];
    let slowest = -1;
    for (let head = queue[0]; head !== undefined && head.lastSeq <= seq; head = queue[0]) {
      queue.shift();
      this.#bytes -= head.bytes;
      if (lane === 'telemetry') this.#telemetryBytes -= head.bytes;
      slowest = Math.max(slowest, now - head.sentAt);
    }
    if (lane !== 'telemetry' || slowest < 0) return;
    const limit = this.telemetryLimit;
    this.#pace = slowest > this.#targetMs ? Math.max(leastPace, limit / 2) : limit + step;
  }

  /** What is under way of a lane counts no longer: its log was given up. */
  forget(lane: LaneName): void {
    for (const { bytes } of this.#underWay[lane]) {
      this.#bytes -= bytes;
      if (lane === 'telemetry') this.#telemetryBytes -= bytes;
    }
    this.#underWay[lane] = [];
  }
}
