/**
 * One device at its gateway, put together: session, time, telemetry, settings, commands, updates. What it measures and what an update
 * does to it come from outside, so that the Pi agent and the simulated devices are the same device.
 */
import type { Agent as HttpsAgent } from 'node:https';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { buildTopic, parseTopic } from '@holdfast/protos/mqtt/topics';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { systemClock } from '@holdfast/provisioning/time/clock';
import type { GpioLines } from '../gpio/gpio-lines.js';
import type { ConfiguredLine } from '../gpio/line-settings.js';
import type { AttachContext, AttachedDevice } from './attached/attached-device.js';
import { Boot } from './boot.js';
import { CertificateRenewal } from './certificate-renewal.js';
import { type CommandHandler, Commands, commandFilter, type DeviceCommands } from './commands.js';
import { DeviceKeys } from './device-keys.js';
import { openFirmwareRecord } from './firmware-record.js';
import { FirmwareTrust } from './firmware-trust.js';
import { GatewayTime } from './gateway-time.js';
import { GatewayTrust } from './gateway-trust.js';
import type { HealthReading } from './health.js';
import { HealthSampler } from './health-sampler.js';
import type { Credentials } from './identity.js';
import { AgentIo, type AgentIoDeps } from './io/agent-io.js';
import { JobsClient, jobFilters } from './jobs-client.js';
import type { Log } from './log.js';
import { OlderUpdates, olderFilter } from './older-updates.js';
import { type JobWork, PlainJobs } from './plain-jobs.js';
import { DeviceSession } from './session.js';
import { defaultAgentSettings, openSettings } from './settings.js';
import { ShadowClient, shadowFilters } from './shadow-client.js';
import { telemetryPayload } from './telemetry-payload.js';
import { TelemetryQueue } from './telemetry-queue.js';
import type { ReleaseCheck } from './update/image-platform.js';
import type { UpdateEvent } from './update/update-state.js';
import type { UpdateReporter, Updater } from './update/updater.js';

export interface DeviceDeps {
  readonly credentials: Credentials;
  readonly log: Log;
  readonly measure: () => Promise<HealthReading>;
  readonly openUpdates: (context: UpdatesContext) => Promise<DeviceUpdates>;
  /** The device is a microcontroller that this process speaks for, not this machine. */
  readonly attach?: (context: AttachContext) => Promise<AttachedDevice>;
  /** The lines of its machine that are leaves of its shadow, and telemetry. */
  readonly io?: { readonly gpio: GpioLines; readonly lines: readonly ConfiguredLine[] };
  /** What jobs may tell it to do, by their operation. */
  readonly jobs?: ReadonlyMap<string, JobWork>;
}

/** What an update needs of the device it happens to. */
export interface UpdatesContext {
  readonly reporter: UpdateReporter;
  readonly gateway: { readonly baseUrl: () => string; readonly agent: () => HttpsAgent };
  /** What may be installed here, by this device's own judgement. */
  readonly check: ReleaseCheck;
  /** To be called whenever the software of the device starts: it is another run from then on. */
  readonly onLaunch: () => void;
  /** Ends the session, which then begins anew. */
  readonly reconnect: () => void;
}

export interface DeviceUpdates {
  readonly updater: Updater;
  /** Restarts what runs in the slot; false when nothing does. */
  restart(): boolean;
  close(): Promise<void>;
}

export interface DeviceOptions {
  readonly dataDir: string;
  /** How it speaks of updates: the jobs topics, or the older set `devices/{id}/…`. */
  readonly door: 'jobs' | 'older';
  readonly intervalS?: number;
  /** After which it asks again to install what may not be installed yet. */
  readonly askAgainMs?: number;
  /** The revision of its hardware. */
  readonly hardware?: string;
  /** The root of the firmware's metadata to begin with, where it is not the first that the plan names. */
  readonly firstRoot?: TrustedState;
}

export interface Device {
  readonly id: string;
  readonly isConnected: boolean;
  readonly version: string | null;
  close(): Promise<void>;
}

export const openDevice = async (deps: DeviceDeps, options: DeviceOptions): Promise<Device> => {
  const { log, credentials } = deps;
  const { identity } = credentials;
  const { dataDir } = options;
  const device = identity.deviceId;
  const boot = new Boot();
  const trust = new GatewayTrust(credentials);

  const session = new DeviceSession(
    {
      trust,
      log,
      handlers: {
        connected: () => {
          time.connected();
          io?.connected();
          shadow.connected();
          commands.connected();
          telemetry.connected();
          older?.connected();
          plainJobs.connected();
          void updates.updater.dispatch({ type: 'connected' });
        },
        disconnected: () => {
          io?.disconnected();
          shadow.disconnected();
          telemetry.disconnected();
        },
        message: (topic, payload) => receive(topic, payload),
      },
    },
    {
      clientId: device,
      gateways: identity.gateways,
      filters: [
        ...shadowFilters(device),
        ...(options.door === 'jobs' ? jobFilters(device) : [olderFilter(device)]),
        commandFilter(device),
        buildTopic({ kind: 'time_now', device }),
      ],
    },
  );

  // As for its trust in the gateway: a Pi has no clock of its own.
  const clock = systemClock({ floorMs: parseCertificate(identity.certificate).notBefore });
  const time = new GatewayTime({ session, log, clock }, { device });
  const renewal = new CertificateRenewal({
    keys: await DeviceKeys.open(dataDir, log),
    trust,
    session,
    now: () => time.now(),
    log,
  });
  const telemetry = new TelemetryQueue(
    {
      log,
      send: (series, points) =>
        session.publish(
          buildTopic({ kind: 'telemetry', device, sensor: series }),
          telemetryPayload(points),
        ),
    },
    { path: join(dataDir, 'telemetry.jsonl') },
  );
  const health = new HealthSampler({
    log,
    read: deps.measure,
    take: (reading) => {
      for (const [series, value] of Object.entries(reading)) {
        const ts = time.isKnown ? { ts: time.now() } : {};
        telemetry.add({ series, value, ...ts, ...boot.next() });
      }
      if (telemetry.dropped > 0) shadow.report();
    },
  });
  const attached =
    (await deps.attach?.({ session, telemetry, time, log, report: () => shadow.report() })) ?? null;
  const io = await openIo(deps, options, {
    changed: () => shadow.report(),
    measured: (series, value, agoMs) => {
      const ts = time.isKnown ? { ts: Math.round(time.now() - agoMs) } : {};
      telemetry.add({ series, value, ...ts, ...boot.next() });
    },
  });
  const openOwnSettings = () =>
    openSettings(
      {
        log,
        apply: ({ health_interval_s }) => health.setInterval(health_interval_s * 1_000),
        ...(io !== null && { gpio: (desired) => io.desire(desired) }),
      },
      {
        dataDir,
        defaults: {
          health_interval_s: options.intervalS ?? defaultAgentSettings.health_interval_s,
        },
      },
    );
  const settings = attached?.settings ?? (await openOwnSettings());
  const model = () => attached?.presence.hello?.model ?? identity.model;
  const bootId = () => (attached === null ? boot.id : attached.presence.bootId);
  const facts = (): JsonObject => {
    const serialNo = attached?.presence.hello?.serial_no ?? identity.serialNo;
    return {
      firmware: { version: attached?.presence.hello?.version ?? updates.updater.version ?? 'none' },
      device: {
        model: model(),
        ...(serialNo !== null && { serial_no: serialNo }),
        ...(options.hardware !== undefined && { hardware: options.hardware }),
      },
      agent: {
        boot: bootId(),
        telemetry_dropped: telemetry.dropped,
        ...(attached !== null && { attached: attached.presence.facts }),
      },
      ...(io !== null && { gpio: io.reported }),
    };
  };
  const shadow = new ShadowClient({ session, settings, log, facts }, { device, askAgainMs: 5_000 });
  const reporting = {
    session,
    log,
    bootId,
    phase: () => updates.updater.state.update.phase,
    dispatch: (event: UpdateEvent) => updates.updater.dispatch(event),
  };
  const about = { device, model };
  const { askAgainMs = 60_000 } = options;
  const jobs =
    options.door === 'jobs'
      ? new JobsClient({ ...reporting, jobs: () => plainJobs }, { ...about, askAgainMs })
      : null;
  const plainJobs = await PlainJobs.open(
    { handlers: deps.jobs ?? new Map(), tell: (job, update) => jobs?.tell(job, update), log },
    { dataDir },
  );
  const older =
    options.door === 'older'
      ? new OlderUpdates(
          {
            ...reporting,
            settings,
            version: () => updates.updater.version ?? 'none',
            reboot: () => void reboot(),
            onSettings: () => shadow.report(),
          },
          { device, model: identity.model, serialNo: identity.serialNo ?? device },
        )
      : null;
  const gateway = { baseUrl: () => httpsAddress(session), agent: () => trust.httpsAgent() };
  const firmware = new FirmwareTrust(
    {
      record: await openFirmwareRecord(dataDir, log),
      gateway,
      now: () => (time.isKnown ? time.now() : null),
      runs: () => ({
        version: updates.updater.version,
        securityCounter: updates.updater.state.securityCounter,
      }),
    },
    {
      identity,
      model,
      hardware: options.hardware ?? null,
      ...(options.firstRoot && { firstRoot: options.firstRoot }),
    },
  );
  const updates = await deps.openUpdates({
    // One of them is there.
    reporter: (jobs ?? older) as UpdateReporter,
    gateway,
    check: firmware.check,
    reconnect: () => session.reconnect(),
    onLaunch: () => {
      boot.renew();
      commands
        .relaunched()
        .catch((error: unknown) =>
          log.warn({ error: messageOf(error) }, 'a reboot is not answered'),
        );
      shadow.report();
    },
  });
  const reboot = async (): Promise<void> => {
    if (updates.restart()) return;
    // Nothing runs in a slot, so the session is all that can begin anew.
    boot.renew();
    await commands.relaunched();
    session.reconnect();
  };
  const openOwnCommands = () =>
    Commands.open(
      {
        session,
        log,
        bootId: () => boot.id,
        // Nothing has expired by a time that nobody knows.
        now: () => (time.isKnown ? time.now() : 0),
        reboot,
        handlers: new Map<string, CommandHandler>([
          ['ping', async () => ({ boot: boot.id, uptime_s: Math.round(process.uptime()) })],
          ['collect_health', () => deps.measure()],
          ['restart_application', async () => ({ restarted: updates.restart() })],
        ]),
      },
      { device, dataDir },
    );
  const commands: DeviceCommands = attached?.commands ?? (await openOwnCommands());

  const receive = async (text: string, payload: Uint8Array): Promise<void> => {
    const topic = parseTopic(text);
    switch (topic?.kind) {
      case 'shadow_answer':
      case 'shadow_delta':
        await shadow.receive(topic, payload);
        break;
      case 'jobs_notify':
      case 'job_answer':
        await jobs?.receive(topic, payload);
        break;
      case 'older_command':
        await older?.receive(payload);
        break;
      case 'command':
        await commands.receive(topic.command, payload);
        break;
      case 'time_now':
        time.receive(payload);
        break;
      default:
        log.warn({ topic: text }, 'a message on a topic that says nothing to this device');
    }
  };

  await telemetry.open();
  io?.start();
  await commands.started();
  await updates.updater.open();
  if (attached === null) health.open();
  session.open();
  attached?.open();
  renewal.open();

  return {
    id: device,
    get isConnected() {
      return session.isConnected;
    },
    get version() {
      return updates.updater.version;
    },
    close: async () => {
      await io?.close();
      health.close();
      older?.close();
      await plainJobs.close();
      await updates.close();
      await attached?.close();
      await renewal.close();
      await session.close();
      await commands.close();
      await telemetry.close();
    },
  };
};

/** Null where no line is given to it. */
const openIo = async (
  { io, log }: Pick<DeviceDeps, 'io' | 'log'>,
  { dataDir }: Pick<DeviceOptions, 'dataDir'>,
  told: Pick<AgentIoDeps, 'changed' | 'measured'>,
): Promise<AgentIo | null> => {
  if (io === undefined || io.lines.every(({ role }) => role === 'reset')) return null;
  return AgentIo.open({ ...told, gpio: io.gpio, log }, { lines: io.lines, dataDir });
};

const httpsAddress = (session: DeviceSession): string => {
  const { host, https } = session.gateway;
  return `https://${host.includes(':') ? `[${host}]` : host}:${String(https)}`;
};
