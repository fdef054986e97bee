/** The service Audit: reads what `recordAudit` wrote, a page at a time. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type AuditEntry,
  AuditService,
  type ListAuditEntriesRequest,
} from '@holdfast/protos/gen/holdfast/v1/audit';
import type { Selectable } from 'kysely';
import { parseSiteName, siteName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';

export interface AuditServiceDependencies {
  readonly engine: Pick<SqlEngine, 'read'>;
}

export const auditService = ({ engine }: AuditServiceDependencies): ApiService =>
  apiService(AuditService, {
    listAuditEntries: async (request) => {
      const filter = parseFilter(request);
      const scope = `audit ${JSON.stringify(filter)}`;
      const page = readPage(request, scope, [0]);
      let query = engine.read.selectFrom('audit_entries').selectAll();
      const { resource, site, action, since, until } = filter;
      if (resource !== '') query = query.where('resource', '=', resource);
      if (site !== '') query = query.where('site_id', '=', site);
      if (action.endsWith('.')) {
        // What begins with "campaign." stands before "campaign/".
        const end = `${action.slice(0, -1)}/`;
        query = query.where('action', '>=', action).where('action', '<', end);
      } else if (action !== '') {
        query = query.where('action', '=', action);
      }
      if (since !== null) query = query.where('recorded_at', '>=', since);
      if (until !== null) query = query.where('recorded_at', '<', until);
      if (page.after !== undefined) query = query.where('number', '>', page.after[0]);
      const rows = await query
        .orderBy('number')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ number }) => [number]);
      return { entries: cut.rows.map(entryMessage), nextPageToken: cut.nextPageToken };
    },
  });

const longestFilter = 256;

const parseFilter = ({ resource, site, action, since, until }: ListAuditEntriesRequest) => {
  if (resource.length > longestFilter || action.length > longestFilter) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `resource and action have at most ${longestFilter} characters`,
    );
  }
  return {
    resource,
    site: site === '' ? '' : parseSiteName(site),
    action,
    since: since?.getTime() ?? null,
    until: until?.getTime() ?? null,
  };
};

const entryMessage = (row: Selectable<Schema['audit_entries']>): AuditEntry => ({
  number: BigInt(row.number),
  time: new Date(row.at),
  recordTime: new Date(row.recorded_at),
  actor: row.actor,
  action: row.action,
  resource: row.resource,
  site: row.site_id === '' ? '' : siteName(row.site_id),
  reason: row.reason,
  // `recordAudit` alone writes it.
  details: JSON.parse(row.details),
});
