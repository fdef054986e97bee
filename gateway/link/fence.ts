/**
 * Whether this gateway still owns its site (DESIGN.md, "Epoch"). Once another one was granted a higher epoch, it refuses what
 * devices write, says why, and keeps doing so across restarts, until it is enrolled again under an epoch of its own.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SiteStore } from '../store/site-store.js';

export interface FenceReason {
  readonly code: string;
  readonly message: string;
  /** When it was learnt, epoch ms. */
  readonly at: number;
}

export interface FenceDeps {
  readonly store: SiteStore;
  readonly clock: Clock;
}

export class Fence {
  readonly #deps: FenceDeps;
  readonly #listeners = new Set<(reason: FenceReason) => void>();
  #reason: FenceReason | undefined;
  /** The epoch under which this gateway was enrolled. */
  readonly epoch: number;

  /** Use `openFence`. */
  constructor(deps: FenceDeps, epoch: number, reason: FenceReason | undefined) {
    this.#deps = deps;
    this.epoch = epoch;
    this.#reason = reason;
  }

  isFenced(): boolean {
    return this.#reason !== undefined;
  }

  /** Why, or undefined while this gateway owns its site. */
  get reason(): FenceReason | undefined {
    return this.#reason;
  }

  /** Throws GATEWAY_FENCED when fenced: before anything a device writes is taken. */
  check(): void {
    if (this.#reason) throw new HoldfastError('GATEWAY_FENCED', this.#reason.message);
  }

  /** Takes effect at once, in memory before on disk: what is in doubt is refused. Idempotent. */
  async raise(code: string, message: string): Promise<void> {
    if (this.#reason) return;
    const reason = { code, message, at: this.#deps.clock.now() };
    this.#reason = reason;
    for (const listener of this.#listeners) listener(reason);
    await this.#deps.store.commit([
      {
        sql: 'INSERT OR REPLACE INTO fence (id, epoch, code, message, at) VALUES (1, ?, ?, ?, ?)',
        params: [this.epoch, code, message, reason.at],
      },
    ]);
  }

  /** Told once when it falls: live device sessions are to be ended. Returns how to stop it. */
  onRaised(listener: (reason: FenceReason) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A fence of a lower epoch is history: the gateway was enrolled anew since. */
export const openFence = async (deps: FenceDeps, epoch: number): Promise<Fence> => {
  const sql = 'SELECT epoch, code, message, at FROM fence WHERE id = 1 AND epoch >= ?';
  const row = await deps.store.read.get<FenceReason>(sql, [epoch]);
  return new Fence(deps, epoch, row && { code: row.code, message: row.message, at: row.at });
};
