/** How much had to go before its time, since there was no room for more: counted in the commits in which it goes. */
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Statement } from '@holdfast/provisioning/storage/write';

export type LossKind = 'changes' | 'conflicts';

export interface Losses {
  readonly count: number;
  /** Epoch ms. */
  readonly lastAt: number;
}

export const lossStatement = (what: LossKind, count: number, lastAt: number): Statement => ({
  sql: `INSERT INTO shadow_losses (what, count, last_at) VALUES (?, ?, ?)
    ON CONFLICT (what) DO UPDATE SET count = count + excluded.count, last_at = max(last_at, excluded.last_at)`,
  params: [what, count, lastAt],
});

/** Undefined as long as nothing had to go. */
export const readLosses = async (read: Database, what: LossKind): Promise<Losses | undefined> => {
  const row = await read.get<{ count: number; last_at: number }>(
    'SELECT count, last_at FROM shadow_losses WHERE what = ?',
    [what],
  );
  return row && { count: row.count, lastAt: row.last_at };
};
