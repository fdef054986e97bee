/**
 * Takes the journal in: what entries do here is committed together with how far their log is taken in, in one transaction a batch. So
 * whatever breaks between the two ends, an entry takes effect once.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { continues } from '@holdfast/protos/link/journal-batch';
import type { EffectContext, EffectRegistry } from '../effects/effect-registry.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import type { GatewayIdentity } from './gateway-identity.js';
import type { ChainedJournalEntry, ReceivedBatch } from './journal-batch.js';
import { type CommittedPosition, readPosition } from './lanes.js';

export interface JournalIngestDependencies {
  readonly engine: SqlEngine;
  readonly effects: EffectRegistry;
  readonly now: () => number;
}

export type IngestResult =
  /** Everything up to this position is on disk, whether this batch brought it or one before. */
  | { readonly outcome: 'committed'; readonly position: CommittedPosition }
  /** The batch does not continue what is committed. Nothing was changed. */
  | { readonly outcome: 'reset'; readonly reason: string };

/** Resolves after the commit. Errors: those of the store; the batch is to be sent again. */
export const ingestBatch = (
  { engine, effects, now }: JournalIngestDependencies,
  gateway: GatewayIdentity,
  batch: ReceivedBatch,
): Promise<IngestResult> =>
  engine.write(async (tx): Promise<IngestResult> => {
    const { lane, log } = batch;
    const { site } = gateway;
    const isFenced = await isOvertaken(tx, gateway);
    const committed = await readPosition(tx.db, { site, lane, log });
    const fresh = entriesBeyond(committed, batch);
    if (fresh === 'mismatch') {
      return { outcome: 'reset', reason: `it does not continue ${lane} ${committed.seq}` };
    }
    if (fresh.length === 0) return { outcome: 'committed', position: committed };
    const context: EffectContext = { tx, site, log, isFenced, now: now() };
    const { problems } = await effects.apply(context, lane, fresh);
    const problemOf = new Map(problems.map(({ seq, problem }) => [seq, problem]));
    await keepEntries(context, batch, fresh, problemOf);
    await advance(context, batch, problems.length);
    return { outcome: 'committed', position: { seq: batch.lastSeq, chain: batch.chain } };
  });

/** In the transaction, so that of two gateways of a site only one ever speaks for it. Errors: NOT_AUTHORISED when the site is gone. */
const isOvertaken = async (
  { db }: WriteTransaction,
  { site, gateway, epoch }: GatewayIdentity,
): Promise<boolean> => {
  const row = await db
    .selectFrom('sites')
    .select(['epoch', 'gateway_id'])
    .where('site_id', '=', site)
    .executeTakeFirst();
  if (row === undefined) {
    throw new HoldfastError('NOT_AUTHORISED', `There is no site ${site} any more`);
  }
  return row.epoch !== epoch || row.gateway_id !== gateway;
};

/** The entries of a batch that are not committed yet: all, those beyond what an earlier connection brought, or none. */
const entriesBeyond = (
  committed: CommittedPosition,
  batch: ReceivedBatch,
): readonly ChainedJournalEntry[] | 'mismatch' => {
  if (committed.seq === 0 || batch.firstSeq > committed.seq) {
    return continues(committed, batch) ? batch.entries : 'mismatch';
  }
  // Longer ago than can be compared: acknowledged again, as it was before.
  if (batch.lastSeq < committed.seq) return [];
  const at = batch.entries.findIndex(({ seq }) => seq === committed.seq);
  const met = batch.entries[at];
  const isSame = met !== undefined && Buffer.compare(met.chain, committed.chain) === 0;
  return isSame ? batch.entries.slice(at + 1) : 'mismatch';
};

/** The audit lane is kept whole; of the others what had no effect. */
const keepEntries = async (
  { tx, site }: EffectContext,
  { lane, log }: ReceivedBatch,
  entries: readonly ChainedJournalEntry[],
  problemOf: ReadonlyMap<number, string>,
): Promise<void> => {
  const rows = entries
    .filter(({ seq }) => lane === 'audit' || problemOf.has(seq))
    .map(({ seq, at, kind, text }) => ({
      site_id: site,
      log,
      lane,
      seq,
      at,
      kind,
      body: text,
      problem: problemOf.get(seq) ?? '',
    }));
  for (let at = 0; at < rows.length; at += rowsAtOnce) {
    await tx.db
      .insertInto('journal')
      .values(rows.slice(at, at + rowsAtOnce))
      .execute();
  }
};

const rowsAtOnce = 500;

const advance = async (
  { tx, site, isFenced, now }: EffectContext,
  { lane, log, lastSeq, chain }: ReceivedBatch,
  unknown: number,
): Promise<void> => {
  const moved = { seq: lastSeq, chain: Buffer.from(chain).toString('hex'), updated_at: now };
  await tx.db
    .insertInto('lane_positions')
    .values({ site_id: site, log, lane, unknown_entries: unknown, ...moved })
    .onConflict((c) =>
      c.columns(['site_id', 'lane', 'log']).doUpdateSet((eb) => ({
        ...moved,
        unknown_entries: eb('lane_positions.unknown_entries', '+', unknown),
      })),
    )
    .execute();
  if (!isFenced) await noteContact(tx, site, now);
};

/** When the site's gateway was heard of last. */
export const noteContact = async (
  { db }: WriteTransaction,
  site: string,
  now: number,
): Promise<void> => {
  await db.updateTable('sites').set({ last_contact_at: now }).where('site_id', '=', site).execute();
};
