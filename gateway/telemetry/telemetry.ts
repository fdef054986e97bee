/**
 * The telemetry of a site: committed before it is acknowledged, kept until the control plane has it, bounded in bytes.
 *
 * Points are kept as they come. That a point counts once is the reader's to see, by (device, boot, seq) or (device, series, ts): a
 * unique index here would cost about as much as the rows themselves, in bytes and in time, to save the few that QoS 1 sends twice.
 */
import { openStore, type Store, type StoreLog } from '@holdfast/provisioning/storage/store';
import type { Append } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { openSealedLane, type SealedLane } from '../link/sealed-lane.js';
import { type Budget, type DiskSpace, keepWithin, spaceOf } from './budget.js';
import { type LatestValue, LatestValues } from './latest-values.js';
import { encodePoint, type TelemetryPoint } from './point.js';
import { telemetryEntries, telemetryMigrations } from './telemetry-schema.js';

export interface TelemetryDeps {
  readonly clock: Clock;
  readonly log: StoreLog;
  /** What is free on the disk; a test may say something else. */
  readonly space?: DiskSpace;
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

/** What a row takes beside its body: number, time, kind, headers. */
const rowOverhead = 32;
/** Points warmed up from the file on start, so that a page shows values before the next ones come. */
const warmUpPoints = 10_000;

export class Telemetry {
  readonly #store: Store;
  readonly #deps: TelemetryDeps;
  readonly #options: TelemetryOptions;
  readonly #lane: SealedLane;
  readonly #latest = new LatestValues();
  readonly #checkEveryBytes: number;
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

  get store(): Store {
    return this.#store;
  }

  /**
   * Resolves when the points are on disk. REQUEST_INVALID when one of them is none (then no one is stored); else as the commit queue
   * rejects: STORE_FULL when others filled the disk, the reserve included.
   */
  async record(points: readonly TelemetryPoint[]): Promise<void> {
    if (points.length === 0) return;
    const at = this.#deps.clock.now();
    const bodies = points.map(encodePoint);
    const write = bodies.map((body): Append => {
      return { into: telemetryEntries, row: [at, 'point', body] };
    });
    // Who writes faster than the oldest can be dropped waits for it: the budget holds under any load.
    if (this.#checking && this.#sinceCheck > this.#checkEveryBytes) await this.#checking;
    await this.#store.commits.commit(write);
    points.forEach((point, index) => {
      const bytes = (bodies[index]?.length ?? 0) + rowOverhead;
      this.#latest.set(point, bytes);
      this.#sinceCheck += bytes;
    });
    this.#lane.appended(points.length);
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
