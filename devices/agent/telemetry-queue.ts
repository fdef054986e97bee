/**
 * Measurements on their way to the gateway: in order, sent again until acknowledged, bounded, kept on disk while the gateway is away.
 *
 * In memory up to `maxPoints`; above that the oldest is dropped and counted. While offline new points are also appended to a spool file
 * every few seconds, so that a power cut costs at most those; a point that was sent but not struck from the spool is sent again, and
 * counts once by its boot and seq. Whoever has to promise that a point is not lost waits for `keep`.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { Log } from './log.js';
import { type QueuedPoint, TelemetrySpool } from './telemetry-spool.js';

export interface TelemetryQueueDeps {
  /** Resolves when the gateway has these points of one series on disk. */
  readonly send: (series: string, points: readonly QueuedPoint[]) => Promise<void>;
  readonly log: Log;
}

export interface TelemetryQueueOptions {
  readonly path: string;
  readonly maxPoints?: number;
  readonly batch?: number;
  readonly spoolIntervalMs?: number;
  /** How long the gateway may take to acknowledge what `keep` waits for; then it goes to disk. */
  readonly keepAfterMs?: number;
}

/** Points somebody waits for, until the last of them survives a power cut. */
interface Keeping {
  readonly points: Set<QueuedPoint>;
  readonly kept: () => void;
}

const keepTimeoutMs = 10_000;
/** Who sends a point again does so soon: further back it is not looked for. */
const resentWithin = 1_000;

export class TelemetryQueue {
  readonly #deps: TelemetryQueueDeps;
  readonly #options: Required<TelemetryQueueOptions>;
  readonly #spool: TelemetrySpool;
  readonly #points: QueuedPoint[] = [];
  readonly #keeping = new Set<Keeping>();
  readonly #spooled = new WeakSet<QueuedPoint>();
  /** How many of the last points the spool does not have yet. */
  #unspooled = 0;
  #isConnected = false;
  #sending: Promise<void> | null = null;
  #spooling: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #dropped = 0;

  constructor(deps: TelemetryQueueDeps, options: TelemetryQueueOptions) {
    this.#deps = deps;
    this.#options = {
      maxPoints: 10_000,
      batch: 200,
      spoolIntervalMs: 5_000,
      keepAfterMs: 200,
      ...options,
    };
    const { path, maxPoints } = this.#options;
    this.#spool = new TelemetrySpool(deps, { path, maxLines: 2 * maxPoints });
  }

  get size(): number {
    return this.#points.length;
  }

  /** Points given up since this process started. */
  get dropped(): number {
    return this.#dropped;
  }

  async open(): Promise<void> {
    const { maxPoints, spoolIntervalMs } = this.#options;
    this.#points.push(...(await this.#spool.open()));
    for (const point of this.#points) this.#spooled.add(point);
    this.#dropAbove(maxPoints);
    this.#timer = setInterval(() => void this.#spoolNew(), spoolIntervalMs);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.disconnected();
    await this.#sending;
    await this.#spooling;
    // At the end the spool is what is left, no more.
    await this.#spool.replace(this.#points);
  }

  add(point: QueuedPoint): void {
    this.#added(point);
    this.#send();
  }

  /**
   * Resolves when the points survive a power cut: the gateway has them, or they stand in the spool. DEADLINE_EXCEEDED where neither came
   * about; they stay in the queue, and given again they are the same points.
   */
  async keep(given: readonly QueuedPoint[]): Promise<void> {
    const points = given.map((point) => this.#sameAs(point) ?? this.#added(point));
    const open = points.filter((point) => !this.#spooled.has(point));
    if (open.length === 0) return;
    let kept: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      kept = resolve;
    });
    const keeping = { points: new Set(open), kept };
    this.#keeping.add(keeping);
    this.#send();
    const { keepAfterMs } = this.#options;
    const spool = setTimeout(() => void this.#spoolNew(true), this.#isConnected ? keepAfterMs : 0);
    try {
      await withDeadline(done, keepTimeoutMs, { doing: 'keeping a measurement' });
    } finally {
      clearTimeout(spool);
      this.#keeping.delete(keeping);
    }
  }

  connected(): void {
    this.#isConnected = true;
    this.#send();
  }

  disconnected(): void {
    this.#isConnected = false;
  }

  #added(point: QueuedPoint): QueuedPoint {
    this.#points.push(point);
    this.#unspooled += 1;
    this.#dropAbove(this.#options.maxPoints);
    return point;
  }

  #dropAbove(maxPoints: number): void {
    const excess = this.#points.length - maxPoints;
    if (excess <= 0) return;
    this.#settle(new Set(this.#points.splice(0, excess)));
    this.#unspooled = Math.min(this.#unspooled, this.#points.length);
    this.#dropped += excess;
  }

  #send(): void {
    if (!this.#isConnected || this.#points.length === 0) return;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
      // Something may have been added since the last look.
      this.#send();
    });
  }

  async #sendAll(): Promise<void> {
    while (this.#isConnected && this.#points.length > 0) {
      const batch = this.#points.slice(0, this.#options.batch);
      try {
        const sent = [...groupBySeries(batch)].map(([series, points]) =>
          this.#deps.send(series, points),
        );
        await Promise.all(sent);
      } catch (error) {
        this.#deps.log.info({ error: messageOf(error) }, 'telemetry is kept for later');
        this.#isConnected = false;
        return;
      }
      this.#strike(new Set(batch));
    }
    if (this.#points.length === 0 && !this.#spool.isEmpty) await this.#forgetSpool();
  }

  /** The oldest may have been dropped while they were on their way. */
  #strike(sent: ReadonlySet<QueuedPoint>): void {
    const kept = this.#points.findIndex((point) => !sent.has(point));
    this.#points.splice(0, kept === -1 ? this.#points.length : kept);
    this.#unspooled = Math.min(this.#unspooled, this.#points.length);
    this.#settle(sent);
  }

  /** Given up, acknowledged or on disk: whoever waited for one of them waits no longer. */
  #settle(settled: ReadonlySet<QueuedPoint>): void {
    for (const { points, kept } of this.#keeping) {
      for (const point of points) if (settled.has(point)) points.delete(point);
      if (points.size === 0) kept();
    }
  }

  /** The one in the queue that this is once more. */
  #sameAs({ boot, seq, series }: QueuedPoint): QueuedPoint | undefined {
    return this.#points
      .slice(-resentWithin)
      .find((point) => point.seq === seq && point.boot === boot && point.series === series);
  }

  #spoolNew(isUrgent = false): Promise<void> {
    this.#spooling = this.#spooling.then(async () => {
      if ((this.#isConnected && !isUrgent) || this.#unspooled === 0) return;
      const added = this.#points.slice(-this.#unspooled);
      this.#unspooled = 0;
      const isKept = await this.#spool.add(added, [...this.#points]);
      if (isKept) {
        for (const point of added) this.#spooled.add(point);
        this.#settle(new Set(added));
        return;
      }
      this.#unspooled = Math.min(this.#unspooled + added.length, this.#points.length);
    });
    return this.#spooling;
  }

  #forgetSpool(): Promise<void> {
    this.#spooling = this.#spooling.then(async () => {
      if (this.#points.length === 0) await this.#spool.replace([]);
    });
    return this.#spooling;
  }
}

const groupBySeries = (points: readonly QueuedPoint[]): Map<string, QueuedPoint[]> => {
  const groups = new Map<string, QueuedPoint[]>();
  for (const point of points) {
    const group = groups.get(point.series);
    if (group === undefined) groups.set(point.series, [point]);
    else group.push(point);
  }
  return groups;
};
