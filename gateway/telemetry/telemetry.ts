/**
 * The telemetry of a site: committed before it is acknowledged, kept until the control plane has it, bounded in bytes.
 *
 * Points are kept as they come. That a point counts once is the reader's to see, by (device, boot, seq) or (device, series, ts): a
 * unique index here would cost about as much as the rows themselves, in bytes and in time, to save the few that QoS 1 sends twice.
 */
import type { CommitQueueOptions } from '@holdfast/provisioning/storage/commit-queue';
import {
  openStore,
  rebuiltReported,
  type Store,
  type StoreLog,
} from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { openSealedLane, type SealedLane } from '../link/sealed-lane.js';
import { type Budget, type DiskSpace, keepWithin, spaceOf } from './budget.js';
import { type LatestValue, LatestValues } from './latest-values.js';
import type { TelemetryPoint } from './point.js';
import { encode, PointBatch, rowOverhead } from './point-batch.js';
import { telemetryMigrations } from './telemetry-schema.js';

export interface TelemetryDeps {
  readonly clock: Clock;
  readonly log: StoreLog;
  /** What is free on the disk; a test may say something else. */
  readonly space?: DiskSpace;
  readonly commits?: CommitQueueOptions;
}

export interface TelemetryOptions extends Budget {
  /** The database file. */
  readonly path: string;
  /** Bytes that may be added before the budget is looked at again. */
  readonly checkEveryBytes?: number;
}

export interface TelemetryStatus {
  /** Entries that the control plane is not known to have. */
  readonly backlog: number;
  /** Points dropped since the program started. */
  readonly droppedPoints: number;
}

/** Points warmed up from the file on start, so that a page shows values before the next ones come. */
const warmUpPoints = 10_000;

export class Telemetry {
  readonly #store: Store;
  readonly #deps: TelemetryDeps;
  readonly #options: TelemetryOptions;
  readonly #lane: SealedLane;
  readonly #latest = new LatestValues();
  readonly #checkEveryBytes: number;
  /** Takes the points of this turn. */
  #batch: PointBatch | undefined;
  #sinceCheck = 0;
  #checking: Promise<void> | undefined;
  #droppedPoints = 0;

  /** Use `openTelemetry`. */
  constructor(deps: TelemetryDeps, options: TelemetryOptions, store: Store, lane: SealedLane) {
    this.#deps = deps;
    this.#options = options;
    this.#store = store;
    this.#lane = lane;
    this.#checkEveryBytes =
      options.checkEveryBytes ?? Math.min(4 * 1024 * 1024, Math.ceil(options.budgetBytes / 32));
  }

  /** The lane, as the link reads it. */
  get lane(): SealedLane {
    return this.#lane;
  }

  /** Set when opening found the file damaged and began anew; the owner reports it. */
  get rebuilt(): Store['rebuilt'] {
    return this.#store.rebuilt;
  }

  /** To be called when that was told. */
  rebuiltReported(): Promise<void> {
    return this.#store.commits.commit([rebuiltReported]);
  }

  get store(): Store {
    return this.#store;
  }

  /**
   * Resolves when the points are on disk; those of one turn of the event loop share a write. Throws REQUEST_INVALID at once when one of
   * them is none (then no one is stored); else it rejects as the commit queue does: STORE_FULL when others filled the disk, the reserve
   * included.
   */
  record(points: readonly TelemetryPoint[]): Promise<void> {
    if (points.length === 0) return Promise.resolve();
    const encoded = points.map(encode);
    const at = this.#deps.clock.now();
    this.#batch ??= this.#begin();
    const batch = this.#batch;
    for (const entry of encoded) batch.add(entry, at);
    if (batch.isFull) batch.send();
    return batch.stored;
  }

  #begin(): PointBatch {
    const batch = new PointBatch(
      () => this.#write(batch),
      () => {
        if (this.#batch === batch) this.#batch = undefined;
      },
    );
    return batch;
  }

  async #write({ entries, write }: PointBatch): Promise<void> {
    // Who writes faster than the oldest can be dropped waits for it: the budget holds under any load.
    if (this.#checking && this.#sinceCheck > this.#checkEveryBytes) await this.#checking;
    await this.#store.commits.commit(write);
    for (const { point, body } of entries) {
      const bytes = body.length + rowOverhead;
      this.#latest.set(point, bytes);
      this.#sinceCheck += bytes;
    }
    this.#lane.appended(entries.length);
    if (this.#sinceCheck > this.#checkEveryBytes) void this.check();
  }

  /** The latest value of each series of a device. */
  latest(device: string): LatestValue[] {
    return this.#latest.of(device);
  }

  status(): TelemetryStatus {
    return { backlog: this.#lane.backlog(), droppedPoints: this.#droppedPoints };
  }

  /** Drops what the budget or the disk has no room for: acknowledged entries, then the oldest others. One check at a time. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async #check(): Promise<void> {
    this.#sinceCheck = 0;
    try {
      const space = this.#deps.space ?? spaceOf(this.#options.path);
      const { points } = await keepWithin(
        { store: this.#store, lane: this.#lane, clock: this.#deps.clock, space },
        this.#options,
      );
      if (points > 0) {
        this.#droppedPoints += points;
        this.#deps.log.warn({ points }, 'telemetry dropped its oldest points');
      }
    } catch (error) {
      this.#deps.log.error({ err: error }, 'telemetry could not be kept within its budget');
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#batch?.send();
    await this.#checking;
    await this.#store.close();
  }

  /** Reads the newest points of the file. */
  async warmUp(): Promise<void> {
    const rows = await this.#store.read.all<{ body: string }>(
      `SELECT body FROM (SELECT seq, body FROM journal_telemetry WHERE kind = 'point'
       ORDER BY seq DESC LIMIT ${warmUpPoints}) ORDER BY seq`,
    );
    // Only what `encodePoint` wrote is in there.
    for (const { body } of rows) {
      this.#latest.set(JSON.parse(body) as TelemetryPoint, body.length + rowOverhead);
    }
  }
}

/** Opens telemetry.db. Errors as `openStore`. */
export const openTelemetry = async (
  deps: TelemetryDeps,
  options: TelemetryOptions,
): Promise<Telemetry> => {
  const store = await openStore({
    path: options.path,
    migrations: telemetryMigrations,
    log: deps.log,
    now: () => deps.clock.now(),
    ...(deps.commits && { commits: deps.commits }),
  });
  try {
    const lane = await openSealedLane({ store, clock: deps.clock }, 'telemetry');
    const telemetry = new Telemetry(deps, options, store, lane);
    await telemetry.warmUp();
    await telemetry.check();
    return telemetry;
  } catch (error) {
    await store.close();
    throw error;
  }
};
