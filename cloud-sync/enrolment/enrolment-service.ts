/** The service Enrollment: codes, lists of devices that are to come, and manufacturers. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { EnrollmentService } from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { parseName, parseSiteName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine } from '../store/sql-engine.js';
import {
  claimIdLength,
  claimLifetime,
  claimMessage,
  deleteClaim,
  makeClaims,
  openClaims,
  requireClaim,
} from './claim-codes.js';
import { importDevices } from './import-devices.js';
import { manufacturerMethods } from './manufacturer-methods.js';

export interface EnrolmentServiceDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  /** The fleet's root, which codes name. */
  readonly root: Certificate;
  readonly now: () => number;
}

const mostAtOnce = 1_000;

export const enrolmentService = (deps: EnrolmentServiceDependencies): ApiService => {
  const { engine, plans, root, now } = deps;
  const { read } = engine;
  return apiService(EnrollmentService, {
    batchCreateClaimCodes: async ({ parent, requests }) => {
      const site = parseSiteName(parent);
      requireBatch(requests.length);
      const claims = requests.map((request) => {
        if (request.parent !== '' && request.parent !== parent) {
          throw new HoldfastError('REQUEST_INVALID', `every code must be of ${parent}`);
        }
        return requireClaim(request, now());
      });
      const claimCodes = await engine.write(async (tx) => {
        await requireSite(tx.db, site);
        const made = await makeClaims(tx, { site, rootSha256: root.sha256, now: now() }, claims);
        await plans.request(tx, [site]);
        return made;
      });
      return { claimCodes };
    },

    listClaimCodes: async (request) => {
      const [site = ''] = parseName(request.parent, 'sites/{site}', { wildcard: true });
      const scope = `codes of ${site}`;
      const page = readPage(request, scope, ['']);
      let query = openClaims(read, now()).selectAll();
      if (site !== '-') {
        await requireSite(read, site);
        query = query.where('site_id', '=', site);
      }
      if (page.after !== undefined) query = query.where('hash', '>', page.after[0]);
      const rows = await query
        .orderBy('hash')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ hash }) => [hash]);
      return { claimCodes: cut.rows.map(claimMessage), nextPageToken: cut.nextPageToken };
    },

    deleteClaimCode: async ({ name }) => {
      const [site = '', claim = ''] = parseName(name, 'sites/{site}/claimCodes/{claim_code}');
      if (claim.length !== claimIdLength) {
        throw new HoldfastError('REQUEST_INVALID', `a code's id has ${claimIdLength} characters`);
      }
      await engine.write(async (tx) => {
        await deleteClaim(tx, { site, claim, now: now() });
        await plans.request(tx, [site]);
      });
      return {};
    },

    importDevices: async ({ parent, devices, lifetimeSeconds, renewCodes, validateOnly }) => {
      const site = parseSiteName(parent);
      requireBatch(devices.length);
      const expiresAt = now() + claimLifetime(lifetimeSeconds);
      const results = await engine.write(async (tx) => {
        await requireSite(tx.db, site);
        const results = await importDevices(
          tx,
          { site, rootSha256: root.sha256, now: now(), expiresAt, renewCodes, validateOnly },
          devices,
        );
        if (!validateOnly) await plans.request(tx, [site]);
        return results;
      });
      return { results };
    },

    ...manufacturerMethods(deps),
  });
};

const requireBatch = (length: number): void => {
  if (length > 0 && length <= mostAtOnce) return;
  throw new HoldfastError('REQUEST_INVALID', `one request has 1 to ${mostAtOnce} of them`);
};
