/** A device of the drill: the agent's own keys, session and renewal over real TLS, by the time of the world. */
import { CertificateRenewal } from '@holdfast/devices/agent/certificate-renewal';
import { DeviceKeys } from '@holdfast/devices/agent/device-keys';
import { enrol } from '@holdfast/devices/agent/enrol';
import { GatewayTime } from '@holdfast/devices/agent/gateway-time';
import { GatewayTrust } from '@holdfast/devices/agent/gateway-trust';
import { silentLog } from '@holdfast/devices/agent/log';
import { DeviceSession } from '@holdfast/devices/agent/session';
import { buildTopic, parseTopic } from '@holdfast/protos/mqtt/topics';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { ManualClock } from '@holdfast/provisioning/time/manual-clock';

export interface DrillDeviceOptions {
  readonly dataDir: string;
  readonly id: string;
  /** With which it enrols. */
  readonly code: string;
}

export class DrillDevice {
  readonly id: string;
  readonly #keys: DeviceKeys;
  readonly #session: DeviceSession;
  readonly #renewal: CertificateRenewal;
  readonly #time: GatewayTime;
  readonly #world: ManualClock;
  #isTakingOver = false;
  #gotAt = 0;
  #seq = 0;
  /** Connections that ended without the next one in their place. */
  drops = 0;
  /** Every certificate that it had, the first one first. */
  readonly serials: string[] = [];

  private constructor(world: ManualClock, keys: DeviceKeys, trust: GatewayTrust) {
    const { identity } = keys;
    const device = identity.deviceId;
    this.id = device;
    this.#keys = keys;
    this.#world = world;
    this.#session = new DeviceSession(
      {
        trust,
        log: silentLog,
        handlers: {
          connected: () => this.#time.connected(),
          disconnected: () => {
            if (!this.#isTakingOver) this.drops += 1;
          },
          message: async (text, payload) => {
            if (parseTopic(text)?.kind === 'time_now') this.#time.receive(payload);
          },
        },
      },
      {
        clientId: device,
        gateways: identity.gateways,
        filters: [buildTopic({ kind: 'time_now', device })],
        ...{ firstRetryMs: 20, mostRetryMs: 200 },
      },
    );
    this.#time = new GatewayTime(
      { session: this.#session, log: silentLog, clock: world },
      { device },
    );
    const session = this.#session;
    this.#renewal = new CertificateRenewal({
      ...{ keys, trust, log: silentLog, wait: world.wait },
      session: {
        get gateway() {
          return session.gateway;
        },
        get isConnected() {
          return session.isConnected;
        },
        get isOutdated() {
          return session.isOutdated;
        },
        takeOver: () => this.#takeOver(),
      },
      now: () => this.#time.now(),
      monotonic: world.monotonic,
    });
  }

  /** Enrols, connects and renews from then on. */
  static async open(world: ManualClock, options: DrillDeviceOptions): Promise<DrillDevice> {
    const { dataDir, code, id } = options;
    const proof = { code };
    await enrol({ log: silentLog }, { dataDir, proof, deviceId: id, model: 'drill' });
    const keys = await DeviceKeys.open(dataDir, silentLog);
    const trust = new GatewayTrust(await keys.credentials(), world);
    const device = new DrillDevice(world, keys, trust);
    device.#session.open();
    device.#renewal.open();
    return device;
  }

  get isConnected(): boolean {
    return this.#session.isConnected;
  }

  /** Serial number of its certificate. */
  get serial(): string {
    return parseCertificate(this.#keys.identity.certificate).serial;
  }

  /** How long it has its certificate, ms, as far as it was looked at. */
  get certificateAgeMs(): number {
    const { serial } = this;
    if (this.serials.at(-1) !== serial) {
      this.serials.push(serial);
      this.#gotAt = this.#world.monotonic();
    }
    return this.#world.monotonic() - this.#gotAt;
  }

  /** Measures once; resolves when the gateway has it. Rejects while it is away. */
  async measure(): Promise<void> {
    const { id } = this;
    const seq = this.#seq + 1;
    const topic = buildTopic({ kind: 'telemetry', device: id, sensor: 'drill' });
    await this.#session.publish(topic, { value: seq, ts: this.#time.now(), boot: 'drill', seq });
    this.#seq = seq;
  }

  get measured(): number {
    return this.#seq;
  }

  async close(): Promise<void> {
    await this.#renewal.close();
    await this.#session.close();
  }

  async #takeOver(): Promise<void> {
    this.#isTakingOver = true;
    try {
      await this.#session.takeOver();
    } finally {
      this.#isTakingOver = false;
    }
  }
}
