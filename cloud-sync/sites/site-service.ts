/** The service Sites: sites, and how a gateway comes to one. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Site, SitesService } from '@holdfast/protos/gen/holdfast/v1/sites';
import { createSecret, formatClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { parseSiteName, requireId } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { auditActor, recordAudit } from '../audit/audit-log.js';
import { releaseSite } from '../campaigns/campaign-departures.js';
import { admitSite } from '../campaigns/campaign-records.js';
import { type RevocationProposal, settleProposals } from '../certificates/revocation-proposals.js';
import { revokeGateway } from '../certificates/revoke-gateway.js';
import type { RootCrl } from '../certificates/root-crl.js';
import { cutPage, readPage } from '../store/page.js';
import { type EnrolGatewayDependencies, enrolGateway, hashGatewaySecret } from './enrol-gateway.js';
import { type SiteRow, siteMessages } from './site-messages.js';
import { checkEtag, deleteSite, insertSite, requireSite } from './site-records.js';

/** Where gateways reach the control plane. */
export interface AdvertisedAddresses {
  /** `host:port` of the API and of the link. */
  readonly api: string;
  readonly link: string;
  /** Base address of the HTTPS door. */
  readonly https: string;
}

export interface SiteServiceDependencies extends EnrolGatewayDependencies {
  readonly fleet: string;
  readonly rootCrl: Pick<RootCrl, 'sign'>;
  readonly isConnected: (site: string) => boolean;
  /** Known once every port is bound. */
  readonly addresses: () => AdvertisedAddresses;
}

const daySeconds = 86_400;
const longestDisplayName = 256;
const scope = 'sites';

export const siteService = (deps: SiteServiceDependencies): ApiService => {
  const { engine, plans, signals, root, now } = deps;
  const read = engine.read;
  const show = async (row: SiteRow): Promise<Site> => {
    const [site] = await siteMessages({ db: read, isConnected: deps.isConnected }, [row]);
    if (site === undefined) throw new HoldfastError('INTERNAL', 'a row makes no site');
    return site;
  };
  const get = async (site: string) => show(await requireSite(read, site));
  return apiService(
    SitesService,
    {
      createSite: async ({ siteId, site }) => {
        const id = requireId(siteId, 'site_id');
        const displayName = requireDisplayName(site?.displayName || id);
        await engine.write(async (tx) => {
          await insertSite(tx, { site: id, displayName, now: now() });
          await admitSite(tx, id);
          await plans.request(tx, [id]);
        });
        return get(id);
      },

      getSite: ({ name }) => get(parseSiteName(name)),

      listSites: async (request) => {
        const page = readPage(request, scope, ['']);
        let query = read.selectFrom('sites').selectAll();
        if (page.after !== undefined) query = query.where('site_id', '>', page.after[0]);
        const rows = await query
          .orderBy('site_id')
          .limit(page.limit + 1)
          .execute();
        const cut = cutPage(rows, page, scope, ({ site_id }) => [site_id]);
        return {
          sites: await siteMessages({ db: read, isConnected: deps.isConnected }, cut.rows),
          nextPageToken: cut.nextPageToken,
        };
      },

      updateSite: async ({ site, updateMask }) => {
        if (site === undefined) throw new HoldfastError('REQUEST_INVALID', 'site is missing');
        const id = parseSiteName(site.name);
        requireMask(updateMask, 'display_name');
        const displayName = requireDisplayName(site.displayName);
        await engine.write(async (tx) => {
          const row = await requireSite(tx.db, id);
          checkEtag(site.etag, row.version, `The site ${id}`);
          await tx.db
            .updateTable('sites')
            .set({ display_name: displayName, version: row.version + 1, updated_at: now() })
            .where('site_id', '=', id)
            .execute();
          await plans.request(tx, [id]);
        });
        return get(id);
      },

      deleteSite: async ({ name, etag }, { caller }) => {
        const site = parseSiteName(name);
        await deleteSite(engine, { site, etag, now: now() }, async (tx) => {
          await releaseSite(deps, tx, site);
          await recordAudit(tx, now(), {
            ...{ action: 'site.deleted', actor: auditActor(caller), resource: name, site },
          });
          // Its gateway, if it is connected, hears that there is no such site any more.
          tx.afterCommit(() => signals.publish(`site:${site}`));
        });
        return {};
      },

      createGatewayCode: async ({ name, replace, lifetimeSeconds }) => {
        const site = parseSiteName(name);
        const expiresAt = now() + requireLifetime(lifetimeSeconds, daySeconds, 30 * daySeconds);
        const secret = createSecret();
        await engine.write(async ({ db }) => {
          const row = await requireSite(db, site);
          if (row.epoch > 0 && !replace) {
            throw new HoldfastError(
              'RESOURCE_CONFLICT',
              `The site ${site} has the gateway ${row.gateway_id}. To put another in its place, ask for a code that replaces it`,
              { data: { next: `holdfast gateway code ${site} --replace` } },
            );
          }
          await db
            .insertInto('gateway_codes')
            .values({
              hash: hashGatewaySecret(secret),
              site_id: site,
              replaces: replace ? 1 : 0,
              created_at: now(),
              expires_at: expiresAt,
              used_csrs: null,
              used_gateway: null,
            })
            .execute();
        });
        const code = formatClaimCode({
          kind: 'gateway',
          secret,
          rootSha256: root.certificate.sha256,
          address: deps.addresses().api,
        });
        return { code, expireTime: new Date(expiresAt) };
      },

      revokeGateway: async ({ name, gatewayId, includeSiteCa }, { caller }) => {
        const site = parseSiteName(name);
        const serials = await engine.write((tx) =>
          revokeGateway({ root, rootCrl: deps.rootCrl, now: now() }, tx, {
            site,
            gateway: gatewayId,
            isSiteCaIncluded: includeSiteCa,
            actor: `cloud:${caller?.name ?? 'unknown'}`,
          }),
        );
        return { serials };
      },

      listRevocationProposals: async ({ name, ...request }) => {
        const site = parseSiteName(name);
        await requireSite(engine.read, site);
        const scope = `revocation proposals of ${site}`;
        const page = readPage(request, scope, ['', '']);
        let query = engine.read
          .selectFrom('revocation_proposals')
          .selectAll()
          .where('site_id', '=', site);
        if (page.after !== undefined) {
          const [serial, issuer] = page.after;
          query = query.where((eb) =>
            eb.or([
              eb('serial', '>', serial),
              eb.and([eb('serial', '=', serial), eb('issuer_key_id', '>', issuer)]),
            ]),
          );
        }
        const rows = await query
          .orderBy('serial')
          .orderBy('issuer_key_id')
          .limit(page.limit + 1)
          .execute();
        const cut = cutPage(rows, page, scope, (row) => [row.serial, row.issuer_key_id]);
        return { proposals: cut.rows.map(proposalMessage), nextPageToken: cut.nextPageToken };
      },

      settleRevocationProposals: async ({ name, accept, serials }, { caller }) => {
        const site = parseSiteName(name);
        const settled = await engine.write(async (tx) => {
          await requireSite(tx.db, site);
          const actor = `cloud:${caller?.name ?? 'unknown'}`;
          const all = await settleProposals(tx, { site, accept, serials, actor, now: now() });
          if (accept && all.length > 0) await plans.request(tx, [site]);
          return all;
        });
        return { serials: settled };
      },

      enrollGateway: async (request) => {
        const { site, gateway, epoch, certificates } = await enrolGateway(deps, request);
        const { link, https } = deps.addresses();
        return {
          site,
          fleet: deps.fleet,
          gatewayId: gateway,
          epoch: BigInt(epoch),
          gatewayCertificate: Buffer.from(certificates.gateway.der),
          siteCaCertificate: Buffer.from(certificates.siteCa.der),
          rootCertificate: Buffer.from(root.certificate.der),
          linkAddress: link,
          httpsAddress: https,
        };
      },
    },
    { open: ['enrollGateway'] },
  );
};

/** Errors: REQUEST_INVALID. */
export const requireMask = (mask: readonly string[] | undefined, only: string): void => {
  if (mask === undefined || mask.every((path) => path === only || path === '*')) return;
  throw new HoldfastError('REQUEST_INVALID', `update_mask may name ${only} alone`);
};

/** Milliseconds. Errors: REQUEST_INVALID. */
export const requireLifetime = (seconds: number, fallback: number, most: number): number => {
  if (seconds <= most) return (seconds === 0 ? fallback : seconds) * 1_000;
  throw new HoldfastError('REQUEST_INVALID', `lifetime_seconds is at most ${most}`);
};

const requireDisplayName = (name: string): string => {
  if (name.length > 0 && name.length <= longestDisplayName) return name;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `display_name must be 1 to ${longestDisplayName} characters`,
  );
};

const proposalMessage = (row: RevocationProposal) => ({
  deviceId: row.device_id,
  issuerKeyId: row.issuer_key_id,
  serial: row.serial,
  reason: row.reason,
  actor: row.actor,
  revokeTime: new Date(row.revoked_at),
  createTime: new Date(row.heard_at),
});
