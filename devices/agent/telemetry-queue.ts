/**
 * Measurements on their way to the gateway: in order, sent again until acknowledged, bounded, kept on disk while the gateway is away.
 *
 * In memory up to `maxPoints`; above that the oldest is dropped and counted. While offline new points are also appended to a spool file
 * every few seconds, so that a power cut costs at most those; a point that was sent but not struck from the spool is sent again, and
 * counts once by its boot and seq.
 */
import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';
import type { Log } from './log.js';

export interface QueuedPoint {
  readonly series: string;
  readonly value: JsonValue;
  readonly ts: number;
  readonly boot: string;
  readonly seq: number;
}

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
}

const pointSchema = v.object({
  series: v.string(),
  value: v.custom<JsonValue>((value) => value !== undefined),
  ts: v.number(),
  boot: v.string(),
  seq: v.number(),
});

export class TelemetryQueue {
  readonly #deps: TelemetryQueueDeps;
  readonly #options: Required<TelemetryQueueOptions>;
  readonly #points: QueuedPoint[] = [];
  /** How many of the last points the spool does not have yet. */
  #unspooled = 0;
  #isSpooled = false;
  #isConnected = false;
  #sending: Promise<void> | null = null;
  #spooling: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #dropped = 0;

  constructor(deps: TelemetryQueueDeps, options: TelemetryQueueOptions) {
    this.#deps = deps;
    this.#options = { maxPoints: 10_000, batch: 200, spoolIntervalMs: 5_000, ...options };
  }

  get size(): number {
    return this.#points.length;
  }

  /** Points given up since this process started. */
  get dropped(): number {
    return this.#dropped;
  }

  async open(): Promise<void> {
    const { path, maxPoints, spoolIntervalMs } = this.#options;
    const text = await readFile(path, 'utf8').catch(() => '');
    this.#isSpooled = text !== '';
    for (const line of text.split('\n')) {
      const point = parsePoint(line);
      if (point !== null) this.#points.push(point);
    }
    this.#dropAbove(maxPoints);
    this.#timer = setInterval(() => void this.#spool(), spoolIntervalMs);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.disconnected();
    await this.#sending;
    await this.#spooling;
    await this.#rewrite();
  }

  add(point: QueuedPoint): void {
    this.#points.push(point);
    this.#unspooled += 1;
    this.#dropAbove(this.#options.maxPoints);
    this.#send();
  }

  connected(): void {
    this.#isConnected = true;
    this.#send();
  }

  disconnected(): void {
    this.#isConnected = false;
  }

  #dropAbove(maxPoints: number): void {
    const excess = this.#points.length - maxPoints;
    if (excess <= 0) return;
    this.#points.splice(0, excess);
    this.#unspooled = Math.min(this.#unspooled, this.#points.length);
    this.#dropped += excess;
  }

  #send(): void {
    if (!this.#isConnected || this.#points.length === 0) return;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
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
    if (this.#points.length === 0 && this.#isSpooled) await this.#forgetSpool();
  }

  /** The oldest may have been dropped while they were on their way. */
  #strike(sent: ReadonlySet<QueuedPoint>): void {
    const kept = this.#points.findIndex((point) => !sent.has(point));
    this.#points.splice(0, kept === -1 ? this.#points.length : kept);
    this.#unspooled = Math.min(this.#unspooled, this.#points.length);
  }

  #spool(): Promise<void> {
    this.#spooling = this.#spooling.then(async () => {
      if (this.#isConnected || this.#unspooled === 0) return;
      const lines = this.#points.slice(-this.#unspooled).map((point) => JSON.stringify(point));
      this.#unspooled = 0;
      this.#isSpooled = true;
      await appendFile(this.#options.path, `${lines.join('\n')}\n`, { mode: 0o600 }).catch(
        (error: unknown) =>
          this.#deps.log.warn({ error: messageOf(error) }, 'telemetry not spooled'),
      );
    });
    return this.#spooling;
  }

  #forgetSpool(): Promise<void> {
    this.#spooling = this.#spooling.then(async () => {
      if (this.#points.length > 0) return;
      await rm(this.#options.path, { force: true });
      this.#isSpooled = false;
    });
    return this.#spooling;
  }

  /** At the end the spool is what is left, no more. */
  async #rewrite(): Promise<void> {
    const { path } = this.#options;
    if (this.#points.length === 0) {
      await rm(path, { force: true });
      return;
    }
    const lines = this.#points.map((point) => JSON.stringify(point));
    await writeFile(`${path}.new`, `${lines.join('\n')}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
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

/** A line cut off by a power cut is none. */
const parsePoint = (line: string): QueuedPoint | null => {
  try {
    const parsed = v.safeParse(pointSchema, JSON.parse(line));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
};
