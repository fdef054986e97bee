/** The rows of target tokens, and the journal's word of them, for the writes of whoever makes one or ends what it is for. */
import type { Statement, Write } from '@holdfast/provisioning/storage/write';
import { journalEntry } from '../store/journal.js';

export interface TargetTokenRow {
  readonly device: string;
  /** Hexadecimal. */
  readonly sha256: string;
  /** Epoch ms. */
  readonly madeAt: number;
  /** As `site:anna`. */
  readonly madeBy: string;
}

export const readTargetTokens =
  'SELECT device_id AS device, sha256, made_at AS madeAt, made_by AS madeBy FROM target_tokens';

/** In place of the one that the device had. */
export const writeTargetToken = ({ device, sha256, madeAt, madeBy }: TargetTokenRow): Write => [
  {
    sql: `INSERT INTO target_tokens (device_id, sha256, made_at, made_by) VALUES (?, ?, ?, ?)
          ON CONFLICT (device_id) DO UPDATE SET sha256 = excluded.sha256, made_at = excluded.made_at,
            made_by = excluded.made_by`,
    params: [device, sha256, madeAt, madeBy],
  },
  journalEntry('audit', 'target_token', { device, action: 'made', actor: madeBy }, madeAt),
];

/** For the write in which its device is replaced, retired or deleted, too. */
export const removeTargetToken = (device: string): Statement => ({
  sql: 'DELETE FROM target_tokens WHERE device_id = ?',
  params: [device],
});
