/** Starts campaigns when their time comes. What is due is read from the store, so that a restart loses nothing and is late by itself alone. */
import type { SqlEngine } from '../store/sql-engine.js';
import { beginScheduled } from './campaign-control.js';
import type { CampaignRecordDependencies } from './campaign-records.js';

export interface CampaignTimerDependencies extends CampaignRecordDependencies {
  readonly engine: SqlEngine;
  readonly log: { error(data: object, message: string): void };
}

/** A clock that is set forward is seen within this time. */
const longestWaitMs = 60_000;

export class CampaignTimer {
  readonly #deps: CampaignTimerDependencies;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isAsked = false;
  #isClosed = false;

  constructor(deps: CampaignTimerDependencies) {
    this.#deps = deps;
  }

  /** Starts what is due and waits for what comes next; to be called at the start, and when a campaign was scheduled. */
  look(): void {
    this.#isAsked = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isAsked) this.look();
    });
  }

  /** Waits for the start under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isAsked = false;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#isAsked = false;
    clearTimeout(this.#timer);
    let waitMs = longestWaitMs;
    try {
      const scheduled = await this.#deps.engine.read
        .selectFrom('campaigns')
        .select(['campaign_id', 'scheduled_at'])
        .where('state', '=', 'scheduled')
        .orderBy('scheduled_at')
        .execute();
      for (const { campaign_id, scheduled_at } of scheduled) {
        const leftMs = (scheduled_at ?? 0) - this.#deps.now();
        if (leftMs > 0) {
          waitMs = Math.min(waitMs, leftMs);
          break;
        }
        if (this.#isClosed) return;
        // One that cannot be started keeps no other from its time.
        await this.#deps.engine
          .write((tx) => beginScheduled(this.#deps, tx, campaign_id))
          .catch((err: unknown) =>
            this.#deps.log.error({ err, campaign: campaign_id }, 'a campaign could not be started'),
          );
      }
      if (scheduled.length === 0) return;
    } catch (err) {
      this.#deps.log.error({ err }, 'scheduled campaigns could not be started');
    }
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.look(), waitMs);
  }
}
