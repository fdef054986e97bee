/** The fleet as the database knows it: one that belongs to another root must not be opened with this one. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SqlEngine } from '../store/sql-engine.js';
import type { FleetAuthority } from './fleet-authority.js';

/** Notes the fleet at the first start. Errors: CONFIGURATION_INVALID when the database is another fleet's. */
export const recordFleet = (
  engine: SqlEngine,
  { fleet, root }: FleetAuthority,
  now: number,
): Promise<void> =>
  engine.write(async ({ db }) => {
    const row = await db.selectFrom('fleet').selectAll().executeTakeFirst();
    const { sha256 } = root.certificate;
    if (row === undefined) {
      await db
        .insertInto('fleet')
        .values({ id: 1, name: fleet, root_sha256: sha256, created_at: now })
        .execute();
    } else if (row.root_sha256 !== sha256) {
      throw new HoldfastError(
        'CONFIGURATION_INVALID',
        'The database belongs to another root than the one in the folder `authority`. Restore both from the same backup',
      );
    }
  });
