/**
 * Forgets commands and campaigns that are over for long. Only by a time that somebody vouches for, and only while everything of back then
 * is with the control plane: until it has heard how something ended, the site is the only one who knows.
 */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import type { SiteStore } from './site-store.js';

export interface RetentionDeps {
  readonly site: Pick<SiteStore, 'read'>;
  /** Each forgets what was over before then, epoch ms. */
  readonly commands: { forget(before: number): Promise<void> };
  readonly updates: { forget(before: number): Promise<void> };
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: StoreLog;
}

export interface RetentionOptions {
  readonly commandDays: number;
  readonly campaignDays: number;
}

const dayMs = 86_400_000;
const daily = '41 3 * * *';

export class Retention {
  readonly #deps: RetentionDeps;
  readonly #options: RetentionOptions;
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;

  constructor(deps: RetentionDeps, options: RetentionOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  open(): void {
    this.#task = this.#deps.schedule(daily, () => this.run());
  }

  /** Forgets now; one at a time. Never rejects: what could not be forgotten is tried at the next turn. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#task?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, commands, updates, log } = this.#deps;
    const { commandDays, campaignDays } = this.#options;
    if (!clock.trusted) return;
    const now = clock.now();
    try {
      for (const [part, days] of [
        [commands, commandDays],
        [updates, campaignDays],
      ] as const) {
        const before = now - days * dayMs;
        if (await this.#isTold(before)) await part.forget(before);
      }
    } catch (err) {
      log.error({ err }, 'what is over for long could not be removed');
    }
  }

  /** Whether the control plane has every entry from before then. */
  async #isTold(before: number): Promise<boolean> {
    const row = await this.#deps.site.read.get(
      `SELECT 1 FROM journal_state JOIN lane_positions ON lane = 'state'
       WHERE seq > acknowledged AND at < ? ORDER BY seq LIMIT 1`,
      [before],
    );
    return row === undefined;
  }
}
