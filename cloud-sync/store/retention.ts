/**
 * Forgets what is older than it is to be kept: telemetry by its arrival, commands by their making, the single executions of a campaign by
 * its end (its counters stay), and what other parts have that ages. A few rows a transaction, so that nobody waits for it.
 */
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import type { Kysely } from 'kysely';
import type { Schema } from './schema.js';
import type { SqlEngine, WriteTransaction } from './sql-engine.js';

export interface RetentionDeps {
  readonly engine: SqlEngine;
  readonly schedule: Schedule;
  readonly now: () => number;
  readonly log: {
    info(data: object, message: string): void;
    error(data: object, message: string): void;
  };
}

/** Something that ages. */
export interface Aging {
  /** As the log calls it. */
  readonly name: string;
  readonly days: number;
  /** Forgets what is from then (epoch ms) or before, so many rows of a transaction at most, by calling `repeat`; returns how many. */
  forget(until: number, repeat: Repeat): Promise<number>;
}

/** Runs transactions until one finds fewer rows than it may. */
export type Repeat = (
  forget: (tx: WriteTransaction, limit: number) => Promise<number>,
) => Promise<number>;

export interface RetentionOptions {
  readonly telemetryDays: number;
  readonly commandDays: number;
  readonly executionDays: number;
  readonly others?: readonly Aging[];
  /** Rows of one transaction. */
  readonly rowsAtOnce?: number;
}

const dayMs = 86_400_000;
const hourly = '23 * * * *';

export class Retention {
  readonly #deps: RetentionDeps;
  readonly #options: Required<RetentionOptions>;
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(deps: RetentionDeps, options: RetentionOptions) {
    this.#deps = deps;
    this.#options = { rowsAtOnce: 1_000, others: [], ...options };
  }

  open(): void {
    this.#task = this.#deps.schedule(hourly, () => this.run());
  }

  /** Forgets now; one at a time. Never rejects: what could not be forgotten is tried at the next turn. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Waits for the transaction under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#task?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log } = this.#deps;
    try {
      const forgotten: Record<string, number> = {
        telemetry: await this.#forgetTelemetry(),
        commands: await this.#forgetCommands(),
        executions: await this.#forgetExecutions(),
      };
      for (const { name, days, forget } of this.#options.others) {
        const until = this.#deps.now() - days * dayMs;
        forgotten[name] = await forget(until, (some) => this.#repeat(some));
      }
      if (Object.values(forgotten).some((rows) => rows > 0)) {
        log.info(forgotten, 'what is older than it is to be kept was removed');
      }
    } catch (err) {
      log.error({ err }, 'what is older than it is to be kept could not be removed');
    }
  }

  async #forgetTelemetry(): Promise<number> {
    const { engine, now } = this.#deps;
    const at = now();
    const before = at - this.#options.telemetryDays * dayMs;
    await engine.write(({ db }) => markTelemetry(db, at));
    let rows = 0;
    const old = await engine.read
      .selectFrom('telemetry_marks')
      .select((eb) => ['site_id', eb.fn.max('position').as('position')])
      .where('at', '<=', before)
      .groupBy('site_id')
      .execute();
    for (const { site_id, position } of old) {
      const devices = await engine.read
        .selectFrom('devices')
        .select('device_id')
        .where('site_id', '=', site_id)
        .execute();
      for (const { device_id } of devices) {
        rows += await this.#repeat(({ db }, limit) =>
          deleteTelemetry(db, { site_id, device_id, position, limit }),
        );
      }
      if (this.#isClosed) return rows;
      // Only now: who was interrupted goes on by this mark.
      await engine.write(({ db }) =>
        db
          .deleteFrom('telemetry_marks')
          .where('site_id', '=', site_id)
          .where('at', '<=', before)
          .execute(),
      );
    }
    return rows;
  }

  /** One that is still open expires first, and is kept as long after that. */
  #forgetCommands(): Promise<number> {
    const before = this.#deps.now() - this.#options.commandDays * dayMs;
    return this.#repeat(async ({ db }, limit) => {
      const old = await db
        .selectFrom('commands')
        .select(['site_id', 'device_id', 'command_id'])
        .where('created_at', '<=', before)
        .where('expires_at', '<=', before)
        .orderBy('created_at')
        .limit(limit)
        .execute();
      for (const row of old) {
        await db
          .deleteFrom('commands')
          .where('site_id', '=', row.site_id)
          .where('device_id', '=', row.device_id)
          .where('command_id', '=', row.command_id)
          .execute();
      }
      return old.length;
    });
  }

  async #forgetExecutions(): Promise<number> {
    const before = this.#deps.now() - this.#options.executionDays * dayMs;
    const ended = await this.#deps.engine.read
      .selectFrom('campaigns')
      .select('campaign_id')
      .where('ended_at', '<=', before)
      .execute();
    let rows = 0;
    for (const { campaign_id } of ended) {
      rows += await this.#repeat(async ({ db }, limit) => {
        const old = await db
          .selectFrom('executions')
          .select(['site_id', 'device_id'])
          .where('campaign_id', '=', campaign_id)
          .limit(limit)
          .execute();
        for (const { site_id, device_id } of old) {
          for (const table of ['executions', 'execution_steps', 'campaign_devices'] as const) {
            await db
              .deleteFrom(table)
              .where('campaign_id', '=', campaign_id)
              .where('site_id', '=', site_id)
              .where('device_id', '=', device_id)
              .execute();
          }
        }
        return old.length;
      });
    }
    return rows;
  }

  /** Until a turn finds fewer than it may. Each is a transaction of its own. */
  async #repeat(forget: (tx: WriteTransaction, limit: number) => Promise<number>): Promise<number> {
    const { rowsAtOnce } = this.#options;
    let rows = 0;
    while (!this.#isClosed) {
      const some = await this.#deps.engine.write((tx) => forget(tx, rowsAtOnce));
      rows += some;
      if (some < rowsAtOnce) break;
    }
    return rows;
  }
}

/** Once a day and site: how far it has come. */
const markTelemetry = async (db: Kysely<Schema>, at: number): Promise<void> => {
  const sites = await db
    .selectFrom('telemetry_positions')
    .leftJoin('telemetry_marks', 'telemetry_marks.site_id', 'telemetry_positions.site_id')
    .select((eb) => [
      'telemetry_positions.site_id as site_id',
      'telemetry_positions.last_position as position',
      eb.fn.max('telemetry_marks.at').as('marked_at'),
    ])
    .groupBy(['telemetry_positions.site_id', 'telemetry_positions.last_position'])
    .execute();
  for (const { site_id, position, marked_at } of sites) {
    if (marked_at !== null && marked_at > at - dayMs) continue;
    await db.insertInto('telemetry_marks').values({ site_id, at, position }).execute();
  }
};

const deleteTelemetry = async (
  db: Kysely<Schema>,
  {
    site_id,
    device_id,
    position,
    limit,
  }: { site_id: string; device_id: string; position: number; limit: number },
): Promise<number> => {
  const { numDeletedRows } = await db
    .deleteFrom('telemetry')
    .where('site_id', '=', site_id)
    .where('device_id', '=', device_id)
    .where('position', 'in', (eb) =>
      eb
        .selectFrom('telemetry as old')
        .select('old.position')
        .where('old.site_id', '=', site_id)
        .where('old.device_id', '=', device_id)
        .where('old.position', '<=', position)
        .orderBy('old.position')
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
};
