/** Wires the control plane together. Its parts know each other only by what is handed to them here. */

import { join } from 'node:path';
import { signOrders } from '@holdfast/provisioning/documents/orders';
import { signPlanHead } from '@holdfast/provisioning/documents/plan';
import { signTime } from '@holdfast/provisioning/documents/time';
import { formatAddress } from '@holdfast/provisioning/pki/claim-code';
import type { Logger } from '@holdfast/provisioning/program/logger';
import { openingPorts } from '@holdfast/provisioning/program/port-settings';
import { lockFolder } from '@holdfast/provisioning/storage/folder-lock';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import { cronSchedule } from '@holdfast/provisioning/time/schedule';
import { ensureAdminLogin } from './api/admin-login.js';
import { openApiServer } from './api/api-server.js';
import { authenticateWith } from './api/caller.js';
import { type HttpsRoute, openHttpsServer } from './api/https-server.js';
import type { ApiService } from './api/service.js';
import { agingAudit } from './audit/audit-log.js';
import { auditService } from './audit/audit-service.js';
import { BlobCheck } from './blobs/blob-check.js';
import { BlobStore } from './blobs/blob-store.js';
import { Signals } from './bus/signals.js';
import { campaignDocuments } from './campaigns/campaign-documents.js';
import { registerCampaignEffects } from './campaigns/campaign-effects.js';
import { campaignService } from './campaigns/campaign-service.js';
import { CampaignTimer } from './campaigns/campaign-timer.js';
import { type FleetAuthority, openFleetAuthority } from './certificates/fleet-authority.js';
import { recordFleet } from './certificates/fleet-record.js';
import { lateRenewalRoute } from './certificates/late-renewal-route.js';
import { revocationsDocument } from './certificates/revocations.js';
import { RootCrl, rootCrlFile } from './certificates/root-crl.js';
import { registerCommandEffects } from './commands/command-effects.js';
import { commandService } from './commands/command-service.js';
import type { CloudConfiguration } from './configuration.js';
import { deviceDocuments } from './devices/device-lives.js';
import { deviceService } from './devices/device-service.js';
import { registerClockEffects } from './effects/clock-effects.js';
import { registerDeviceEffects } from './effects/device-effects.js';
import { EffectRegistry } from './effects/effect-registry.js';
import { registerLifeEffects } from './effects/life-effects.js';
import { registerSiteEffects } from './effects/site-effects.js';
import { registerTelemetryEffects } from './effects/telemetry-effects.js';
import { claimsDocument, manufacturersDocument } from './enrolment/enrolment-documents.js';
import { registerEnrolmentEffects } from './enrolment/enrolment-effects.js';
import { enrolmentService } from './enrolment/enrolment-service.js';
import { DeltaMaker } from './firmware/delta-maker.js';
import { FirmwareLibrary } from './firmware/firmware-library.js';
import { firmwareRoute } from './firmware/firmware-route.js';
import { firmwareService } from './firmware/firmware-service.js';
import { groupDocuments } from './groups/group-members.js';
import { groupService } from './groups/group-service.js';
import { Contacts } from './link/contacts.js';
import { openLinkServer } from './link/link-server.js';
import { Orders } from './link/orders.js';
import { registerPeopleEffects } from './people/people-effects.js';
import { userService } from './people/user-service.js';
import { usersDocument } from './people/users-document.js';
import { agingChanges, agingConflicts } from './shadows/forget-shadows.js';
import { registerShadowEffects } from './shadows/shadow-effects.js';
import { ShadowHistory } from './shadows/shadow-history.js';
import { shadowService } from './shadows/shadow-service.js';
import { PlanPublisher } from './sites/plan-publisher.js';
import { policyDocument } from './sites/policy-document.js';
import { siteDocument } from './sites/site-documents.js';
import { siteService } from './sites/site-service.js';
import { openEmbeddedEngine } from './store/embedded-engine.js';
import { Retention } from './store/retention.js';
import type { SqlEngine } from './store/sql-engine.js';

export interface CloudDependencies {
  readonly log: Logger;
  readonly now: () => number;
  /** Shows a login code to the admin; at the first start, and when a new one is asked for. */
  readonly showLogin: (loginCode: string) => Promise<void>;
  /** Gets every part that was opened, to be closed in reverse. */
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface CloudOptions {
  readonly dataDir: string;
  readonly configuration: CloudConfiguration;
  /** Draws a new token for the admin in place of the one there is. */
  readonly renewAdminLogin?: boolean;
}

export interface CloudPorts {
  readonly grpc: number;
  readonly link: number;
  readonly https: number;
}

/** What the parts of the control plane are made of; each registers with what it has to add. */
export interface Foundation {
  readonly engine: SqlEngine;
  readonly authority: FleetAuthority;
  readonly signals: Signals;
  readonly effects: EffectRegistry;
  readonly orders: Orders;
  readonly history: ShadowHistory;
  readonly plans: PlanPublisher;
  readonly contacts: Contacts;
  readonly rootCrl: RootCrl;
  readonly blobs: BlobStore;
  readonly configuration: CloudConfiguration;
  readonly dataDir: string;
  readonly now: () => number;
  readonly log: Logger;
}

/** What a part adds to the servers. */
export interface Part {
  readonly services?: readonly ApiService[];
  readonly routes?: readonly HttpsRoute[];
}

const dayMs = 86_400_000;
const publishEveryMs = 3_600_000;

/** Starts everything; resolves when it serves. */
export const openCloud = async (
  deps: CloudDependencies,
  options: CloudOptions,
): Promise<CloudPorts> => {
  const { configuration } = options;
  const foundation = await layFoundation(deps, options);
  const { engine, authority, contacts, plans, rootCrl, log, now } = foundation;
  const { host } = configuration.listen;
  const { advertise } = configuration;
  const [advertised = '127.0.0.1'] = advertise.hosts;
  const ports = { grpc: 0, link: 0, https: 0 };
  const addresses = () => ({
    api: formatAddress({ host: advertised, port: advertise.grpcPort || ports.grpc }),
    link: formatAddress({ host: advertised, port: advertise.linkPort || ports.link }),
    https: `https://${formatAddress({ host: advertised, port: advertise.httpsPort || ports.https })}`,
  });
  const parts = await registerParts(foundation, addresses, deps.onClose);
  await plans.publishDue();
  const certificate = authority.server;
  const root = authority.root.certificate;

  const https = await openingPorts({ 'listen.httpsPort': configuration.listen.httpsPort }, () =>
    openHttpsServer(
      { engine, root, isRevoked: rootCrl.isRevoked, now, log },
      {
        host,
        port: configuration.listen.httpsPort,
        certificate,
        routes: parts.flatMap(({ routes = [] }) => routes),
        files: [rootCrlFile(engine)],
      },
    ),
  );
  deps.onClose('https', () => https.close());
  ports.https = https.port;

  const link = await openingPorts({ 'listen.linkPort': configuration.listen.linkPort }, () =>
    openLinkServer(
      {
        ...foundation,
        root,
        issuer: authority.root,
        isRevoked: rootCrl.isRevoked,
        signOrders: (batch) => signOrders(authority.planSigner, batch),
        signTime: (time) => signTime(authority.planSigner, time),
      },
      { host, port: configuration.listen.linkPort, certificate, ...configuration.link },
    ),
  );
  deps.onClose('link', () => link.close());
  ports.link = link.port;

  const api = await openingPorts({ 'listen.grpcPort': configuration.listen.grpcPort }, () =>
    openApiServer(
      { authenticate: authenticateWith(engine), log },
      {
        host,
        port: configuration.listen.grpcPort,
        certificate,
        services: parts.flatMap(({ services = [] }) => services),
      },
    ),
  );
  deps.onClose('api', () => api.close());
  ports.grpc = api.port;

  const republish = setInterval(() => {
    authority
      .renew()
      .then(() => rootCrl.renew())
      .then(() => plans.publishDue())
      .catch((err: unknown) => log.error({ err }, 'plans or certificates could not be renewed'));
  }, publishEveryMs);
  deps.onClose('renewal of plans', () => clearInterval(republish));
  const retention = new Retention(
    { engine, schedule: cronSchedule, now, log },
    {
      ...configuration.retention,
      others: [
        agingChanges(foundation, configuration.retention.shadowHistoryDays),
        agingConflicts(configuration.retention.conflictDays),
        agingAudit(configuration.retention.auditDays),
      ],
    },
  );
  retention.open();
  const blobCheck = new BlobCheck({ blobs: foundation.blobs, schedule: cronSchedule, log });
  blobCheck.open();
  deps.onClose('check of the images', () => blobCheck.close());
  deps.onClose('retention', () => retention.close());
  await ensureAdminLogin(engine, {
    address: addresses().api,
    rootSha256: root.sha256,
    now: now(),
    renew: options.renewAdminLogin ?? false,
    show: deps.showLogin,
  });
  log.info({ ...ports, fleet: authority.fleet, connected: contacts.size }, 'serving');
  return ports;
};

const layFoundation = async (
  { log, now, onClose }: CloudDependencies,
  { dataDir, configuration }: CloudOptions,
): Promise<Foundation> => {
  await makeFolder(dataDir, 0o700);
  const lock = await lockFolder(dataDir);
  onClose('data folder', () => lock.close());
  const authority = await openFleetAuthority({
    folder: join(dataDir, 'authority'),
    fleet: configuration.fleet.name,
    hosts: [...new Set([...configuration.advertise.hosts, '127.0.0.1', 'localhost'])],
    now,
  });
  const engine = await openEmbeddedEngine({ path: join(dataDir, 'cloud.db'), log });
  onClose('store', () => engine.close());
  if (engine.rebuilt !== undefined) {
    log.error(
      { ...engine.rebuilt },
      'the database was damaged, and was made anew: restore a backup',
    );
  }
  await recordFleet(engine, authority, now());
  const signals = new Signals();
  const contacts = new Contacts(configuration.link);
  const plans = new PlanPublisher(
    {
      ...{ engine, signals, now, log },
      sign: (head) => signPlanHead(authority.planSigner, head),
      isConnected: (site) => contacts.isConnected(site),
    },
    {
      fleet: authority.fleet,
      lifetimeMs: configuration.plan.lifetimeDays * dayMs,
      graceMs: configuration.plan.graceDays * dayMs,
      renewAfterMs: configuration.plan.renewHours * 3_600_000,
    },
  );
  onClose('plans', () => plans.close());
  const rootCrl = await RootCrl.open({ engine, root: authority.root, plans, now });
  return {
    rootCrl,
    engine,
    authority,
    signals,
    effects: new EffectRegistry(),
    orders: new Orders({ signals, now }),
    history: new ShadowHistory(
      { signals, now },
      { maxBytes: configuration.retention.shadowHistoryBytes },
    ),
    plans,
    contacts,
    blobs: await BlobStore.open(join(dataDir, 'firmware')),
    configuration,
    dataDir,
    now,
    log,
  };
};

/** Every part of the control plane, in the order in which they are registered. */
const registerParts = async (
  foundation: Foundation,
  addresses: Parameters<typeof siteService>[0]['addresses'],
  onClose: CloudDependencies['onClose'],
): Promise<readonly Part[]> => {
  const { authority, blobs, configuration, contacts, effects, now, plans } = foundation;
  plans.register(siteDocument);
  plans.register(claimsDocument(now));
  plans.register(manufacturersDocument);
  plans.register(revocationsDocument(now));
  plans.register(deviceDocuments);
  plans.register(policyDocument(configuration.policy));
  plans.register(usersDocument);
  plans.register(groupDocuments);
  plans.register(campaignDocuments);
  registerSiteEffects(foundation);
  registerDeviceEffects(foundation);
  registerLifeEffects(foundation);
  registerEnrolmentEffects(foundation);
  registerClockEffects(foundation);
  registerPeopleEffects(foundation);
  registerTelemetryEffects(effects);
  registerShadowEffects(foundation);
  registerCampaignEffects(foundation);
  registerCommandEffects(foundation);
  const library = new FirmwareLibrary(foundation, configuration.firmware);
  await library.sweep();
  const deltas = new DeltaMaker(
    { ...foundation, schedule: cronSchedule },
    { folder: join(foundation.dataDir, 'deltas'), ...configuration.firmware },
  );
  onClose('deltas', () => deltas.close());
  await deltas.open();
  const timer = new CampaignTimer(foundation);
  onClose('start of campaigns', () => timer.close());
  timer.look();
  const isConnected = (site: string) => contacts.isConnected(site);
  return [
    {
      services: [
        siteService({
          ...foundation,
          fleet: authority.fleet,
          root: authority.root,
          isConnected,
          addresses,
        }),
        deviceService({ ...foundation, root: authority.root.certificate }),
        enrolmentService({ ...foundation, root: authority.root.certificate }),
        userService(foundation),
        auditService(foundation),
        groupService(foundation),
      ],
    },
    { services: [shadowService(foundation, configuration.shadows), commandService(foundation)] },
    {
      services: [
        firmwareService({ ...foundation, library, onUploaded: () => deltas.uploaded() }),
        campaignService({ ...foundation, timer }),
      ],
      routes: [firmwareRoute(blobs), lateRenewalRoute({ ...foundation, issuer: authority.root })],
    },
  ];
};
