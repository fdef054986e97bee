/**
 * Sends `ota_update` to devices of the older set. The address in it is signed and runs out, so the command is made for a connection that is
 * there and goes into no queue: with QoS 0, to each client of the device that listens, and again to the next connection, as long as the
 * device has not taken it up. A device that came back may have done all it was told without a word: it is told again only after its
 * heartbeat, when what it runs is known.
 */
import type { OlderCommandPayload } from '@holdfast/protos/mqtt/older-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { OutboundMessage, SessionEvent } from '../../broker/broker.js';
import type { FirmwareUrls } from '../../firmware/signed-url.js';
import type { DeviceExecutions, ExecutionView } from '../../updates/device-executions.js';

export interface OlderCommandsDeps {
  readonly updates: Pick<DeviceExecutions, 'executionsOf' | 'tellThrough'>;
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Whether this very client is there and subscribed to the topic. */
  readonly hears: (clientId: string, topic: string) => boolean;
  readonly urls: Pick<FirmwareUrls, 'path'>;
  /** `https://host:port` of the gateway, as devices reach it. */
  readonly httpsAddress: () => string;
  readonly isFenced: () => boolean;
}

interface Session {
  readonly clientId: string;
  /** What it runs is known of this connection. */
  hasBeat: boolean;
  /** Number of the execution that it was told of. */
  told: number | undefined;
}

export class OlderCommands {
  readonly #deps: OlderCommandsDeps;
  /** Those that are there, by device and their id. */
  readonly #sessions = new Map<string, Map<string, Session>>();
  /** By device, the number of what was offered and reached nobody yet. */
  readonly #fresh = new Map<string, number>();

  constructor(deps: OlderCommandsDeps) {
    this.#deps = deps;
    deps.updates.tellThrough('devices', async (device) => {
      const offered = this.#offeredTo(device);
      if (offered !== undefined) this.#fresh.set(device, offered.number);
      await this.#tell(device);
    });
  }

  /** A connection came or went. */
  onSession({ device, clientId, sessionId, connected }: SessionEvent): void {
    const sessions = this.#sessions.get(device) ?? new Map<string, Session>();
    if (connected) sessions.set(sessionId, { clientId, hasBeat: false, told: undefined });
    else sessions.delete(sessionId);
    if (sessions.size > 0) this.#sessions.set(device, sessions);
    else this.#sessions.delete(device);
  }

  /** A client of the device may listen now that did not before. */
  async listening(device: string): Promise<void> {
    await this.#tell(device);
  }

  /** After its heartbeat was taken. */
  async beat(device: string, sessionId: string): Promise<void> {
    const session = this.#sessions.get(device)?.get(sessionId);
    if (session === undefined) return;
    session.hasBeat = true;
    await this.#tell(device);
  }

  #offeredTo(device: string): ExecutionView | undefined {
    return this.#deps.updates.executionsOf(device).find(
      // A plain job has no words in the older set.
      ({ execution: { door, status }, image }) =>
        door === 'devices' && status === 'offered' && image !== null,
    );
  }

  async #tell(device: string): Promise<void> {
    const sessions = this.#sessions.get(device);
    if (sessions === undefined || this.#deps.isFenced()) return;
    const offered = this.#offeredTo(device);
    if (offered === undefined) {
      this.#fresh.delete(device);
      return;
    }
    const { number } = offered;
    const topic = buildTopic({ kind: 'older_command', device });
    const isFresh = this.#fresh.get(device) === number;
    for (const session of sessions.values()) {
      if (session.told === number || !(isFresh || session.hasBeat)) continue;
      if (!this.#deps.hears(session.clientId, topic)) continue;
      this.#fresh.delete(device);
      session.told = number;
      try {
        const payload = Buffer.from(JSON.stringify(this.#commandOf(offered)));
        await this.#deps.publish({ topic, payload, qos: 0, to: session.clientId });
      } catch (error) {
        session.told = undefined;
        if (isFresh) this.#fresh.set(device, number);
        throw error;
      }
    }
  }

  #commandOf({ campaign, device, image }: ExecutionView): OlderCommandPayload {
    if (image === null) throw new TypeError('a plain job was taken for an update');
    const { version, sha256, size_bytes } = image;
    const { offer_timeout_ms, download_timeout_ms } = campaign.body.policy;
    const path = this.#deps.urls.path({ device, sha256 }, offer_timeout_ms + download_timeout_ms);
    return {
      command: 'ota_update',
      version,
      url: `${this.#deps.httpsAddress()}${path}`,
      checksum: `sha256:${sha256}`,
      size_bytes,
      campaign_id: campaign.id,
    };
  }
}
