/**
 * The measurements that wait on disk, a line each, while the gateway is away. Bounded: it is written anew, with what is still waiting,
 * before it holds more than `maxLines`. Never rejects: a disk that takes nothing costs what a power cut then takes, and no measurement.
 */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';
import type { Log } from './log.js';
import { syncPath } from './update/sync-tree.js';

export interface QueuedPoint {
  readonly series: string;
  readonly value: JsonValue;
  /** Epoch ms; none while nobody knew the time: the gateway then says when it came. */
  readonly ts?: number;
  readonly boot: string;
  readonly seq: number;
}

export interface TelemetrySpoolOptions {
  readonly path: string;
  readonly maxLines: number;
}

export class TelemetrySpool {
  readonly #log: Log;
  readonly #path: string;
  readonly #maxLines: number;
  #lines = 0;
  /** It ends within a line, or what is on disk is not known: the next write makes it anew. */
  #isTorn = false;

  constructor({ log }: { readonly log: Log }, { path, maxLines }: TelemetrySpoolOptions) {
    this.#log = log;
    this.#path = path;
    this.#maxLines = maxLines;
  }

  get isEmpty(): boolean {
    return this.#lines === 0 && !this.#isTorn;
  }

  /** What waits since before this start. */
  async open(): Promise<QueuedPoint[]> {
    const text = await readFile(this.#path, 'utf8').catch(() => '');
    const points = text.split('\n').flatMap((line) => parsePoint(line) ?? []);
    this.#lines = points.length;
    this.#isTorn = text !== '' && !text.endsWith('\n');
    return points;
  }

  /** Whether the new points, the last of all that wait, survive a power cut from then on. */
  async add(added: readonly QueuedPoint[], waiting: readonly QueuedPoint[]): Promise<boolean> {
    const isFull = this.#lines + added.length > this.#maxLines;
    if (isFull || this.#isTorn) return this.replace(waiting);
    const isNew = this.isEmpty;
    this.#lines += added.length;
    return this.#attempt(async () => {
      await write(this.#path, 'a', added);
      if (isNew) await syncPath(dirname(this.#path));
    });
  }

  /** Makes it hold these points and no others; whether it does. */
  async replace(waiting: readonly QueuedPoint[]): Promise<boolean> {
    this.#lines = waiting.length;
    return this.#attempt(async () => {
      if (waiting.length === 0) {
        await rm(this.#path, { force: true });
        return;
      }
      await write(`${this.#path}.new`, 'w', waiting);
      await rename(`${this.#path}.new`, this.#path);
      await syncPath(dirname(this.#path));
    });
  }

  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.#isTorn = false;
      return true;
    } catch (error) {
      this.#isTorn = true;
      this.#log.warn({ error: messageOf(error) }, 'telemetry not spooled');
      return false;
    }
  }
}

const write = async (
  path: string,
  flags: 'a' | 'w',
  points: readonly QueuedPoint[],
): Promise<void> => {
  const file = await open(path, flags, 0o600);
  try {
    await file.writeFile(points.map((point) => `${JSON.stringify(point)}\n`).join(''));
    await file.datasync();
  } finally {
    await file.close();
  }
};

const pointSchema = v.object({
  series: v.string(),
  value: v.custom<JsonValue>((value) => value !== undefined),
  ts: v.exactOptional(v.number()),
  boot: v.string(),
  seq: v.number(),
});

/** A line cut off by a power cut is none. */
const parsePoint = (line: string): QueuedPoint | null => {
  try {
    const parsed = v.safeParse(pointSchema, JSON.parse(line));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
};
