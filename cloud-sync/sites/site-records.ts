/** The rows of sites. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import type { SiteRow } from './site-messages.js';

/** Errors: RESOURCE_NOT_FOUND. */
export const requireSite = async (db: Kysely<Schema>, site: string): Promise<SiteRow> => {
  const row = await db
    .selectFrom('sites')
    .selectAll()
    .where('site_id', '=', site)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no site ${site}`, {
    data: { next: 'holdfast site list' },
  });
};

/** Throws when somebody changed it since the caller read it; an empty etag is one who does not mind. Errors: RESOURCE_CONFLICT. */
export const checkEtag = (etag: string, version: number, what: string): void => {
  if (etag === '' || etag === String(version)) return;
  throw new HoldfastError(
    'RESOURCE_CONFLICT',
    `${what} was changed by somebody else meanwhile. Read it again, then change it`,
  );
};

/** Errors: RESOURCE_EXISTS. */
export const insertSite = async (
  { db }: WriteTransaction,
  {
    site,
    displayName,
    now,
  }: { readonly site: string; readonly displayName: string; readonly now: number },
): Promise<void> => {
  const result = await db
    .insertInto('sites')
    .values({
      site_id: site,
      display_name: displayName,
      version: 1,
      created_at: now,
      updated_at: now,
      device_count: 0,
      epoch: 0,
      gateway_id: null,
      gateway_version: null,
      gateway_enrolled_at: null,
      last_contact_at: null,
      clone_suspected: 0,
    })
    .onConflict((c) => c.column('site_id').doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows === 1n) return;
  throw new HoldfastError('RESOURCE_EXISTS', `There is a site ${site} already`, {
    data: { next: `holdfast site get ${site}` },
  });
};

/**
 * Deletes a site with everything that came from it, but for the record of its certificates, which are revoked. `release` lets other parts
 * go of it first, in the same transaction. Errors: RESOURCE_CONFLICT.
 */
export const deleteSite = (
  engine: SqlEngine,
  { site, etag, now }: { readonly site: string; readonly etag: string; readonly now: number },
  release: (tx: WriteTransaction) => Promise<void>,
): Promise<void> =>
  engine.write(async (tx) => {
    const { db } = tx;
    const row = await requireSite(db, site);
    checkEtag(etag, row.version, `The site ${site}`);
    if (row.device_count > 0) {
      throw new HoldfastError(
        'RESOURCE_CONFLICT',
        `The site ${site} has ${row.device_count} devices. Delete them first`,
      );
    }
    await release(tx);
    for (const table of [
      'journal',
      'telemetry',
      'telemetry_positions',
      'telemetry_dropped',
      'device_lives',
      'device_certificates',
      'conflict_policies',
    ] as const) {
      await db.deleteFrom(table).where('site_id', '=', site).execute();
    }
    await db
      .updateTable('certificates')
      .set({ revoked_at: now })
      .where('site_id', '=', site)
      .where('revoked_at', 'is', null)
      .execute();
    await db.deleteFrom('sites').where('site_id', '=', site).execute();
  });
