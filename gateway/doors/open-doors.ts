/** Opens the doors that stand beside the broker: HTTPS for devices and for people, and NTP where it is wanted. */
import { formatAddress, formatClaimCode } from '@holdfast/provisioning/pki/claim-code';
import type { TrustedClock } from '@holdfast/provisioning/time/trusted-clock';
import type { Broker } from '../broker/broker.js';
import type { GatewayConfiguration } from '../configuration.js';
import type { FirmwareCache } from '../firmware/firmware-cache.js';
import type { ImageServer } from '../firmware/image-server.js';
import type { FirmwareUrls } from '../firmware/signed-url.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import { certificatesOf } from '../trust/certificate-register.js';
import { cutSessions } from '../trust/cut-sessions.js';
import type { GatewayIdentity } from '../trust/gateway-identity.js';
import { identifyTarget, readGatewayToken } from '../trust/identify-target.js';
import { identifyUrl } from '../trust/identify-url.js';
import type { Trust } from '../trust/open-trust.js';
import { watchOperatorToken } from '../trust/operator-token.js';
import type { People } from '../trust/people/open-people.js';
import { gatewayHost } from '../trust/server-certificate.js';
import type { PeopleClock } from '../trust/site-clock.js';
import { readPlannedMetadata } from '../updates/planned-metadata.js';
import type { Updates } from '../updates/updates.js';
import { ddiRefusals, type OpenDdiDoorDeps, openDdiDoor } from './ddi/open-ddi-door.js';
import { estRoutes } from './est/est-routes.js';
import { type CampaignRoutesDeps, campaignRoutes } from './local/campaign-routes.js';
import { clockRoutes } from './local/clock-routes.js';
import { crlRoutes } from './local/crl-routes.js';
import { openDeviceDoor } from './local/device-door.js';
import { deviceLifeRoutes } from './local/device-life-routes.js';
import { firmwareRoutes } from './local/firmware-routes.js';
import { type FlashRoutesDeps, flashRoutes } from './local/flash-routes.js';
import { metadataRoute } from './local/metadata-route.js';
import { openPeopleDoor, type PeopleDoorDeps } from './local/people-door.js';
import type { Route } from './local/routes.js';
import { targetTokenRoutes } from './local/target-token-routes.js';
import { openNtpServer } from './ntp/ntp-server.js';
import type { SerialDoor } from './serial/serial-door.js';

/** What the doors listen on, filled in as each opens. */
export type GatewayPorts = Record<'mqtts' | 'https' | 'console', number> & { ntp?: number };

export interface OpenDoorsDependencies
  extends Pick<
    PeopleDoorDeps,
    'commands' | 'fence' | 'log' | 'people' | 'serialLines' | 'status' | 'telemetry'
  > {
  readonly site: SiteStore;
  readonly clock: TrustedClock;
  readonly peopleClock: PeopleClock;
  readonly identity: GatewayIdentity;
  readonly trust: Trust;
  readonly people: People;
  readonly broker: Broker;
  readonly serial: SerialDoor;
  readonly flashing: FlashRoutesDeps['flashing'];
  readonly firmware: FirmwareCache;
  readonly images: ImageServer;
  readonly updates: CampaignRoutesDeps['updates'] &
    OpenDdiDoorDeps['updates'] &
    Pick<Updates, 'mayLoad'>;
  readonly devices: OpenDdiDoorDeps['devices'] & PeopleDoorDeps['devices'];
  readonly shadows: OpenDdiDoorDeps['shadows'] & PeopleDoorDeps['shadows'];
  readonly urls: Pick<FirmwareUrls, 'verify'>;
  readonly ports: GatewayPorts;
  /** For people, of parts that have some of their own. */
  readonly routes: readonly Route[];
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface OpenDoorsOptions {
  readonly configuration: Pick<GatewayConfiguration, 'ddi' | 'listen' | 'names' | 'time'>;
  readonly dataDir: string;
}

export const openDoors = async (
  deps: OpenDoorsDependencies,
  { configuration, dataDir }: OpenDoorsOptions,
): Promise<void> => {
  const { site, clock, identity, trust, people, broker, serial, devices, ports } = deps;
  const { fence, log, onClose } = deps;
  const { record, root } = identity;
  const { listen, names, time } = configuration;
  const { certificate, crl } = trust;
  const onRefused = people.access.refused;
  const doorOptions = { host: listen.host, tls: certificate.credentials };

  const httpsAddress = (): string =>
    `https://${formatAddress({ host: gatewayHost({ names, listen }), port: ports.https })}`;

  const devicesDoor = await openDeviceDoor(
    {
      ...trust,
      images: deps.images,
      mayLoad: (...asked) => deps.updates.mayLoad(...asked),
      identifyByUrl: identifyUrl({
        verify: (...asked) => deps.urls.verify(...asked),
        refusal: trust.lifecycles.refusal,
      }),
      routes: [
        ...crlRoutes({ siteCrl: () => crl.current.pem, rootCrl: trust.rootCrl }),
        ...estRoutes({ ...trust, authorities: () => [...identity.siteCas, root] }),
        ...openDdiDoor(
          { ...deps, ...trust, onRefused, monotonic: () => clock.monotonic() },
          { ...configuration.ddi, httpsAddress },
        ),
        metadataRoute(() => readPlannedMetadata(site.read)),
      ],
      identifyByToken: identifyTarget({
        targetTokens: trust.targetTokens,
        gatewayToken: await readGatewayToken(configuration.ddi.gatewayTokenFile),
      }),
      tokenRefusal: ddiRefusals(() => clock.monotonic()),
      onRefused,
      log,
    },
    { ...doorOptions, port: listen.httpsPort },
  );
  onClose('door for devices', () => devicesDoor.close());
  ports.https = devicesDoor.port;
  cutSessions({ ...trust, broker, devicesDoor, serial, log });

  const peopleDoor = await openPeopleDoor(
    {
      ...deps,
      ...{ claims: trust.claims, onRefused },
      routes: [
        ...deviceLifeRoutes({
          ...{ lifecycles: trust.lifecycles, revocations: trust.revocations, fence },
          certificatesOf: (device) => certificatesOf(site.read, device),
          isKnown: (device) => devices.get(device) !== undefined,
        }),
        ...clockRoutes({ clock: deps.peopleClock }),
        ...firmwareRoutes({ firmware: deps.firmware, now: () => clock.now() }),
        ...deps.routes,
        ...campaignRoutes({ updates: deps.updates, fence }),
        ...flashRoutes({ flashing: deps.flashing, fence }),
        ...targetTokenRoutes({
          ...{ targetTokens: trust.targetTokens, fence },
          cut: (device) => devicesDoor.cut((who) => who.kind === 'target' && who.device === device),
          access: () => ({
            url: httpsAddress(),
            tenant: configuration.ddi.tenants[0] ?? '',
            root: root.pem,
          }),
        }),
      ],
      codeOf: (secret) => {
        const address = formatAddress({
          host: gatewayHost({ names, listen }),
          port: ports.https,
        });
        return formatClaimCode({ kind: 'device', secret, rootSha256: root.sha256, address });
      },
      operatorTokenSha256: watchOperatorToken(dataDir, record.operator_token_sha256),
      noteChange: (change) =>
        site.commit([journalEntry('audit', 'change_requested', change, clock.now())]),
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
    },
    { ...doorOptions, port: listen.consolePort },
  );
  onClose('door for people', () => peopleDoor.close());
  ports.console = peopleDoor.port;
  certificate.onChange((credentials) => {
    for (const door of [devicesDoor, peopleDoor]) door.renewCertificate(credentials);
  });

  if (!time.serveNtp) return;
  const ntp = await openNtpServer({ clock, log }, { host: listen.host, port: time.ntpPort });
  onClose('NTP', () => ntp.close());
  ports.ntp = ntp.port;
};
