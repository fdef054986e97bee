/**
 * Prunes what the control plane has: it is kept for a while, for a control plane that was restored from a backup and asks again, but
 * not for ever and not at any size.
 */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import type { PruneLimits, SealedLane } from './sealed-lane.js';

export interface PruningDeps {
  readonly lanes: readonly Pick<SealedLane, 'lane' | 'prune'>[];
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: StoreLog;
}

export interface PruningOptions {
  /** When to prune, in cron's words. */
  readonly cron?: string;
  readonly keepMs?: number;
  /** Acknowledged entries of a lane that are kept at most. */
  readonly keepEntries?: number;
}

const defaults = { cron: '*/10 * * * *', keepMs: 7 * 86_400_000, keepEntries: 1_000_000 };

export class Pruning {
  readonly #deps: PruningDeps;
  readonly #options: Required<PruningOptions>;
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;

  constructor(deps: PruningDeps, options: PruningOptions = {}) {
    this.#deps = deps;
    this.#options = { ...defaults, ...options };
  }

  open(): void {
    this.#task = this.#deps.schedule(this.#options.cron, () => this.run());
  }

  /** Prunes now; one at a time. Never rejects: what could not be pruned is tried at the next turn. */
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
    const { clock, lanes, log } = this.#deps;
    const { keepMs, keepEntries } = this.#options;
    // By a clock that may have jumped nothing grows old.
    const limits: PruneLimits = {
      before: clock.trusted ? clock.now() - keepMs : Number.MIN_SAFE_INTEGER,
      keepEntries,
    };
    for (const lane of lanes) {
      try {
        const entries = await lane.prune(limits);
        if (entries > 0) log.info({ lane: lane.lane, entries }, 'acknowledged entries were pruned');
      } catch (error) {
        log.error({ err: error, lane: lane.lane }, 'acknowledged entries could not be pruned');
      }
    }
  }
}
