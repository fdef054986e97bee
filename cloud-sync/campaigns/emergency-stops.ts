/** Emergency stops, of the whole fleet or of sites: who made them and why, and what the plan of a site says of it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CampaignsService, EmergencyStop } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { EmergencyStop as StopBody } from '@holdfast/protos/link/plan-documents';
import type { Kysely, Selectable } from 'kysely';
import { parseName, parseSiteName } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import { auditActor, recordAudit } from '../audit/audit-log.js';
import { requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { requireReason } from './campaign-reason.js';
import type { CampaignRecordDependencies } from './campaign-records.js';

export type StopRow = Selectable<Schema['emergency_stops']>;

/** In place of a site: every one. */
export const fleetStop = '-';

/** What the plan of a site says: the stop of the fleet before that of the site. */
export const emergencyStopOf = async (
  db: Kysely<Schema>,
  site: string,
): Promise<StopBody | undefined> => {
  const rows = await db
    .selectFrom('emergency_stops')
    .selectAll()
    .where('site_id', 'in', [fleetStop, site])
    .where('is_local', '=', 0)
    .orderBy('site_id')
    .execute();
  const row = rows.find(({ site_id }) => site_id === fleetStop) ?? rows[0];
  return row && { at: row.at, by: row.actor, reason: row.reason };
};

export interface EmergencyStopDependencies extends CampaignRecordDependencies {
  readonly engine: SqlEngine;
}

const mostSites = 10_000;

type StopMethods = Pick<
  Handlers<typeof CampaignsService>,
  'createEmergencyStop' | 'liftEmergencyStop' | 'getEmergencyStop' | 'listEmergencyStops'
>;

export const emergencyStopMethods = (deps: EmergencyStopDependencies): StopMethods => {
  const { engine, now } = deps;
  return {
    createEmergencyStop: async ({ sites, reason }, { caller }) => {
      const named = requireSites(sites);
      const actor = auditActor(caller);
      const why = requireReason(reason);
      if (why.trim() === '') {
        throw new HoldfastError(
          'REQUEST_INVALID',
          'reason is missing: whoever finds everything stopped has to know why',
        );
      }
      const stops = await engine.write(async (tx) => {
        for (const site of named) if (site !== fleetStop) await requireSite(tx.db, site);
        const made: StopRow[] = [];
        for (const site of named) {
          const row: StopRow = { site_id: site, is_local: 0, reason: why, actor, at: now() };
          const result = await tx.db
            .insertInto('emergency_stops')
            .values(row)
            .onConflict((c) => c.columns(['site_id', 'is_local']).doNothing())
            .executeTakeFirst();
          // The one that stands goes on standing, with who made it.
          if (result.numInsertedOrUpdatedRows === 0n) continue;
          made.push(row);
          await audit(tx, now(), 'emergency_stop.made', { site, actor, reason: why });
        }
        await republish(deps, tx, made);
        return readStops(tx.db, named);
      });
      return { stops: stops.map(stopMessage) };
    },

    liftEmergencyStop: async ({ sites, reason }, { caller }) => {
      const named = requireSites(sites);
      const actor = auditActor(caller);
      const why = requireReason(reason);
      const lifted = await engine.write(async (tx) => {
        const standing = await readStops(tx.db, named);
        for (const { site_id: site } of standing) {
          await tx.db
            .deleteFrom('emergency_stops')
            .where('site_id', '=', site)
            .where('is_local', '=', 0)
            .execute();
          await audit(tx, now(), 'emergency_stop.lifted', { site, actor, reason: why });
        }
        await republish(deps, tx, standing);
        return standing;
      });
      return { stops: lifted.map(stopMessage) };
    },

    getEmergencyStop: async ({ name }) => {
      const [site = ''] = parseName(name, 'emergencyStops/{site}', { wildcard: true });
      const row = await engine.read
        .selectFrom('emergency_stops')
        .selectAll()
        .where('site_id', '=', site)
        .orderBy('is_local')
        .executeTakeFirst();
      if (row !== undefined) return stopMessage(row);
      const what = site === fleetStop ? 'The fleet' : `The site ${site}`;
      throw new HoldfastError('RESOURCE_NOT_FOUND', `${what} is not stopped`);
    },

    listEmergencyStops: async (request) => {
      const scope = 'emergency stops';
      const page = readPage(request, scope, ['', 0]);
      let query = engine.read.selectFrom('emergency_stops').selectAll();
      if (page.after !== undefined) {
        const [site, local] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('site_id', '>', site),
            eb.and([eb('site_id', '=', site), eb('is_local', '>', local)]),
          ]),
        );
      }
      const rows = await query
        .orderBy('site_id')
        .orderBy('is_local')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [row.site_id, row.is_local]);
      return { stops: cut.rows.map(stopMessage), nextPageToken: cut.nextPageToken };
    },
  };
};

const requireSites = (sites: readonly string[]): string[] => {
  if (sites.length > mostSites) {
    throw new HoldfastError('REQUEST_INVALID', `sites names more than ${mostSites}`);
  }
  return sites.length === 0 ? [fleetStop] : [...new Set(sites.map(parseSiteName))];
};

const rowsAtOnce = 500;

const readStops = async (db: Kysely<Schema>, sites: readonly string[]): Promise<StopRow[]> => {
  const rows: StopRow[] = [];
  for (let at = 0; at < sites.length; at += rowsAtOnce) {
    rows.push(
      ...(await db
        .selectFrom('emergency_stops')
        .selectAll()
        .where('site_id', 'in', sites.slice(at, at + rowsAtOnce))
        .where('is_local', '=', 0)
        .execute()),
    );
  }
  return rows;
};

const republish = async (
  { plans }: CampaignRecordDependencies,
  tx: WriteTransaction,
  stops: readonly StopRow[],
): Promise<void> => {
  if (stops.some(({ site_id }) => site_id === fleetStop)) await plans.requestAll(tx);
  else if (stops.length > 0) {
    await plans.request(
      tx,
      stops.map(({ site_id }) => site_id),
    );
  }
};

const audit = (
  tx: WriteTransaction,
  now: number,
  action: 'emergency_stop.made' | 'emergency_stop.lifted',
  {
    site,
    actor,
    reason,
  }: { readonly site: string; readonly actor: string; readonly reason: string },
): Promise<void> =>
  recordAudit(tx, now, {
    action,
    actor,
    reason,
    resource: stopName(site),
    ...(site === fleetStop ? {} : { site }),
  });

const stopName = (site: string): string => `emergencyStops/${site}`;

const stopMessage = (row: StopRow): EmergencyStop => ({
  name: stopName(row.site_id),
  reason: row.reason,
  actor: row.actor,
  createTime: new Date(row.at),
  local: row.is_local === 1,
});
