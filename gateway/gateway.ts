/** Wires the gateway together. Its parts know each other only by what is handed to them here. */

import { join } from 'node:path';
import type { GpioLines } from '@holdfast/devices/gpio/gpio-lines';
import { openGpio } from '@holdfast/devices/gpio/open-gpio';
import type { EntryBody, EntryKind } from '@holdfast/protos/link/journal-entries';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { Logger } from '@holdfast/provisioning/program/logger';
import type { ReadyPorts } from '@holdfast/provisioning/program/ready';
import { lockFolder } from '@holdfast/provisioning/storage/folder-lock';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import type { MachineTime } from '@holdfast/provisioning/time/machine-time';
import { cronSchedule, type Schedule } from '@holdfast/provisioning/time/schedule';
import { readProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { openBroker } from './broker/broker.js';
import { configuredLimits } from './broker/broker-limits.js';
import { LatePublisher } from './broker/late-publisher.js';
import { ServiceAccounts } from './broker/service-accounts.js';
import { type GatewayConfiguration, tokenOf } from './configuration.js';
import { openDevices } from './devices/devices.js';
import { createDispatch } from './devices/dispatch.js';
import { reportedFirmware } from './devices/reported-firmware.js';
import { type GatewayPorts, openDoors } from './doors/open-doors.js';
import { openMqttDoors } from './doors/open-mqtt-doors.js';
import { openWires, type Wires } from './doors/open-wires.js';
import { fittingLines } from './doors/serial/flash/fits-line.js';
import { openFirmware } from './firmware/open-firmware.js';
import { openFirmwareUrls } from './firmware/signed-url.js';
import { siteStatus } from './health/site-status.js';
import { Commands } from './jobs/commands.js';
import { controlPlaneAgent } from './link/control-plane-agent.js';
import { openGrants } from './link/grants.js';
import { openLink } from './link/open-link.js';
import { Pruning } from './link/pruning.js';
import { faultsOf } from './panel/faults.js';
import { openPanel } from './panel/panel.js';
import { openSiteShadows } from './shadows/open-shadows.js';
import { shadowChanged } from './shadows/shadow-change.js';
import { performShadowChanges } from './shadows/shadow-effects.js';
import { beginTelling, TellEverything } from './shadows/tell-everything.js';
import type { GatewayHealth } from './site-file/gateway-health.js';
import { journalEntry } from './store/journal.js';
import { Retention } from './store/retention.js';
import { openSite } from './store/site.js';
import { loadGatewayIdentity } from './trust/gateway-identity.js';
import { openTrust, type Trust } from './trust/open-trust.js';
import { PairingWindow } from './trust/pairing-window.js';
import { openPeople } from './trust/people/open-people.js';
import { gatewayHost } from './trust/server-certificate.js';
import { followClock, openSiteClock } from './trust/site-clock.js';
import { FirmwareReleases } from './updates/firmware-releases.js';
import { SiteWindows } from './updates/site-windows.js';
import { Updates } from './updates/updates.js';

export interface GatewayDependencies {
  readonly log: Logger;
  /** Gets every part that was opened, to be closed in reverse. */
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
  /** Ends the program because something it cannot do without has failed. */
  readonly fail: (error: unknown) => void;
  /** Has the gateway begin anew in good order; by default the program ends. */
  readonly beginAnew?: () => void;
  /** The lines of this machine, unless a test has others. */
  readonly gpio?: GpioLines;
  /** Cron's, unless a test holds the clock. */
  readonly schedule?: Schedule;
  /** The clocks of this machine, likewise. */
  readonly machine?: MachineTime;
}

export interface GatewayOptions {
  readonly dataDir: string;
  readonly configuration: GatewayConfiguration;
  /** What the files that it names are relative to; by default the data folder. */
  readonly configurationFolder?: string;
  readonly version: string;
}

/** A gateway that serves. */
export interface OpenedGateway {
  readonly ports: ReadyPorts;
  health(): GatewayHealth;
  /** Commits an entry of the audit lane. */
  journal: <K extends EntryKind<'audit'>>(kind: K, body: EntryBody<'audit', K>) => Promise<void>;
}

/** Starts what works without a network first, and the link last; resolves when it serves. */
export const openGateway = async (
  deps: GatewayDependencies,
  { configuration, dataDir, configurationFolder = dataDir, version }: GatewayOptions,
): Promise<OpenedGateway> => {
  const { log, onClose, schedule = cronSchedule } = deps;
  const { listen, services } = configuration;
  await makeFolder(dataDir, 0o700);
  const lock = await lockFolder(dataDir);
  onClose('data folder', () => lock.close());
  const identity = await loadGatewayIdentity(
    { dataDirectory: dataDir, token: tokenOf(configuration) },
    log,
  );
  const { record, root } = identity;
  const clock = await openSiteClock({ ...deps, identity }, { dataDir, ...configuration.time });
  const { store, site, outbox, telemetry, lanes } = await openSite(
    { ...deps, clock },
    { dataDir, telemetryBudgetBytes: configuration.telemetry.budgetBytes },
  );
  // Of plans too, which say themselves what is revoked.
  const isRevoked = (issuer: string, serial: string): boolean =>
    known?.isRevoked(issuer, serial) ?? false;
  let known: Trust['revocations'] | undefined;
  const { fence, plan, orders } = await openGrants({ site, clock, log, root, isRevoked }, record);
  const peopleClock = followClock({ clock, site, plan });

  const via = await readProxy(configuration.link);
  const publisher = new LatePublisher();
  const { publish } = publisher;
  const devices = await openDevices({
    ...{ site, clock, log },
    plannedDecision: (device) =>
      plan.current()?.documents.device.get(device)?.body.lifecycle?.decided_at,
  });
  onClose('devices', () => devices.close());
  const host = gatewayHost(configuration);
  const ports: GatewayPorts = { mqtts: 0, https: 0, console: 0 };
  const { gpio = openGpio() } = deps;
  const pairing = new PairingWindow(
    { site, clock, fence },
    { isRequired: configuration.gpio.lines.some(({ role }) => role === 'pairing-button') },
  );
  const trust = await openTrust(
    { ...deps, identity, site, clock, schedule, plan, fence, devices, pairing },
    {
      dataDir,
      hosts: configuration.names.hosts,
      certificates: configuration.certificates,
      ports: () => ({ mqtts: ports.mqtts, https: ports.https }),
    },
  );
  known = trust.revocations;
  const { certificate, claims, identify, lifecycles } = trust;
  clock.onCorrected((correction) => {
    claims
      .correct(correction)
      .catch((err: unknown) => log.error({ err }, 'codes could not be given their time'));
  });
  const people = await openPeople({ ...deps, site, clock, plan }, configuration.people);
  const shadows = await openSiteShadows(
    { ...deps, site, storeLog: store.log, policy: trust.policy, clock, schedule },
    configuration.shadows,
  );
  const windows = new SiteWindows(
    { clock },
    {
      windows: configuration.windows.times,
      timeZone: configuration.site.timeZone,
      whenTimeUnknown: configuration.windows.whenTimeUnknown,
    },
  );
  const source = {
    address: record.https_address,
    agent: controlPlaneAgent({ identity, clock, via, isRevoked }),
  };
  // It needs the updates, who need the firmware.
  let wires: Wires | undefined;
  const isKept = (sha256: string): boolean => wires?.flashing.isKept(sha256) ?? false;
  const { firmware, images } = await openFirmware(
    { site, plan, source, windows, isKept, clock, log, onClose },
    { dataDir, configuration: configuration.firmware },
  );
  const urls = await openFirmwareUrls(
    { clock, schedule, log },
    { path: join(dataDir, 'firmware-urls.json') },
  );
  onClose('addresses of firmware', () => urls.close());
  const commands = new Commands({
    site,
    isFenced: () => fence.isFenced(),
    outbox,
    devices,
    publish,
    sendOnLine: async (...command) => wires?.sendCommand(...command),
    clock,
    log,
  });
  const httpsAddress = (): string => `https://${host}:${ports.https}`;
  const releases = await FirmwareReleases.open({ site, clock });
  const updates = new Updates({
    site,
    outbox,
    plan,
    devices,
    firmware,
    publish,
    offerOnLine: async (...offer) => wires?.offer(...offer),
    toldOnLine: (device) => wires?.flashing.told(device) ?? false,
    isReachable: (device) => wires?.flashing.isReachable(device) ?? false,
    isFenced: () => fence.isFenced(),
    verdicts: fittingLines(releases, {
      release: (image) => releases.release(image),
      partOf: (device) => wires?.flashing.partOf(device),
    }),
    // As devices know it, who cannot know what their gateway heard since; the control plane issues heads anew twice a day.
    asOf: () => plan.current()?.head.issued_at ?? null,
    windows,
    clock,
    log,
  });
  orders.handle('shadow', (body, commit) => shadows.applyRemote(body, commit));
  orders.handle('command', commands.order);
  const backlog = (): number => lanes.state.backlog();
  const telling = new TellEverything({ site, shadows, backlog, log });
  orders.handle('resupplied', async (_, commit) => {
    await commit([beginTelling]);
    telling.kick();
  });
  onClose('telling of shadows', () => telling.close());

  const dispatch = createDispatch({ devices, telemetry, shadows, updates, commands, clock });
  const isConnected = (device: string): boolean => (devices.get(device)?.session ?? null) !== null;
  const { isHeard, hears } = publisher;
  const signaturesOf = (image: FirmwareBody) =>
    releases.release(image)?.manifest.image_signatures ?? [];
  const topics = openMqttDoors({
    ...{ dispatch, shadows, publish, isHeard, isConnected, fence, lifecycles, clock, log },
    ...{ site, updates, urls, hears, httpsAddress, signaturesOf },
    deltasOf: (sha256) => firmware.deltasOf(sha256),
    isSpoken: (device) => devices.get(device)?.door === 'aws',
  });
  wires = await openWires(
    {
      ...{ gpio, dispatch, shadows, site, updates, devices, firmware, releases },
      ...{ fence, lifecycles, clock, log },
      onRefused: people.access.refused,
    },
    { configuration, folder: configurationFolder, version },
  );
  const { serial, lines: serialLines, flashing } = wires;
  outbox.register(
    shadowChanged,
    performShadowChanges([
      topics.shadows,
      ...wires.listeners,
      reportedFirmware({ devices, reported: topics.versionReported }),
    ]),
  );

  // Before the first device can say anything to them.
  await commands.open();
  onClose('commands', () => commands.close());
  await flashing.load();
  await updates.open();
  onClose('updates', () => updates.close());
  clock.onCorrected((correction) => {
    updates
      .correct(correction)
      .catch((err: unknown) => log.error({ err }, 'updates could not be given their time'));
  });

  const { link, gatewayRenewal } = openLink(
    {
      ...{ ...deps, identity, clock, schedule, certificate, isRevoked, via },
      ...{ plan, orders, fence },
      lanes: [lanes.audit, lanes.state, telemetry.lane],
      onUp: () => firmware.retry(),
    },
    { version, ...configuration.link },
  );

  const accounts = new ServiceAccounts(services.users);
  const broker = await openBroker(
    {
      store,
      log,
      clock,
      identify,
      authenticateService: (user, password) => accounts.authenticate(user, password),
      handle: topics.handle,
      onSession: topics.onSession,
      onSubscribed: topics.onSubscribed,
      onRefused: people.access.refused,
    },
    {
      mqtts: { host: listen.host, port: listen.mqttsPort, tls: certificate.credentials },
      ...(services.users.length > 0 && { services: { port: services.port } }),
      limits: configuredLimits(configuration.mqtt),
    },
  );
  onClose('broker', () => broker.close());
  publisher.lead(broker);
  certificate.onChange((credentials) => broker.renewCertificate(credentials));
  fence.onRaised(({ message }) => {
    for (const device of broker.connectedDevices()) broker.disconnect(device, message);
  });
  ports.mqtts = broker.ports.mqtts ?? 0;

  const panel = openPanel(
    {
      ...{ ...deps, gpio, clock, pair: (button) => pairing.press(button) },
      state: () => ({
        isLinkUp: link.status().connected,
        isPairing: pairing.isOpen,
        faults: faultsOf({
          isFenced: fence.isFenced(),
          lines: serialLines.list(),
          certificates: gatewayRenewal.states(),
          firmwareProblem: firmware.problem,
        }),
      }),
    },
    configuration.gpio,
  );
  await openDoors(
    {
      flashing,
      ...{
        ...deps,
        site,
        clock,
        peopleClock,
        identity,
        trust,
        people,
        fence,
        broker,
        serial,
        serialLines,
      },
      ...{ devices, telemetry, shadows, firmware, images, urls, updates, commands, ports },
      routes: wires.routes,
      status: () =>
        siteStatus({
          ...{ version, record, clock, link, devices, firmware, serialLines, telemetry, trust },
          ...{ windows, updates },
          gpioLines: () => [...panel.states(), ...(wires?.ownLines() ?? [])],
          certificates: gatewayRenewal,
        }),
    },
    { configuration, dataDir },
  );

  panel.open();
  onClose('panel', () => panel.close());
  outbox.start();
  onClose('outbox', () => outbox.close());
  wires.open();
  onClose('wires', () => wires?.close());

  trust.revocationAge.watch(() => link.status());
  telling.kick();
  link.open();
  onClose('link', () => link.close());
  const pruning = new Pruning({ lanes: [lanes.audit, lanes.state], clock, schedule, log });
  pruning.open();
  onClose('pruning', () => pruning.close());
  const retention = new Retention(
    { site, commands, updates, clock, schedule, log },
    configuration.retention,
  );
  retention.open();
  onClose('retention', () => retention.close());
  return {
    ports: { ...ports, ...broker.ports },
    health: () => ({ isLinkUp: link.status().connected, lines: serialLines.list() }),
    journal: (kind, body) => site.commit([journalEntry('audit', kind, body, clock.now())]),
  };
};
