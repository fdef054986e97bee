/**
 * Updates over the older topic set: `devices/{id}/command` in, `devices/{id}/status` and `…/heartbeat` out.
 *
 * It has no answers: a status counts as known once its publish was acknowledged. What shows a restart is the heartbeat with the version
 * in a new session, so a heartbeat goes out first in every session.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { type OlderCommandPayload, parseOlderCommand } from '@holdfast/protos/mqtt/older-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';
import type { Settings } from './settings.js';
import type { UpdateEvent, UpdateJob } from './update/update-state.js';
import type { UpdateReport, UpdateReporter } from './update/updater.js';

export interface OlderUpdatesDeps {
  readonly session: Pick<DeviceSession, 'publish' | 'isConnected'>;
  readonly dispatch: (event: UpdateEvent) => Promise<void>;
  readonly version: () => string;
  readonly settings: Settings;
  readonly reboot: () => void;
  readonly onSettings: () => void;
  readonly log: Log;
}

export interface OlderUpdatesOptions {
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  readonly heartbeatMs?: number;
}

export const olderFilter = (device: string): string =>
  buildTopic({ kind: 'older_command', device });

const final: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

export class OlderUpdates implements UpdateReporter {
  readonly #deps: OlderUpdatesDeps;
  readonly #options: OlderUpdatesOptions;
  #beating: NodeJS.Timeout | null = null;

  constructor(deps: OlderUpdatesDeps, options: OlderUpdatesOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  connected(): void {
    this.#beating ??= setInterval(() => this.#beat(), this.#options.heartbeatMs ?? 30_000);
    this.#beat();
  }

  close(): void {
    if (this.#beating !== null) clearInterval(this.#beating);
    this.#beating = null;
  }

  report(job: UpdateJob, { status, error, progress }: UpdateReport): void {
    const body = {
      campaign_id: job.campaignId,
      status,
      ...(progress !== null && { progress }),
      ...(error !== null && { error: error.slice(0, 1_000) }),
      timestamp: Date.now(),
    };
    void this.#publish('status', body).then((isKnown) => {
      if (isKnown && final.includes(status)) {
        void this.#deps.dispatch({ type: 'answered', jobId: job.id });
      }
    });
  }

  ask(): void {
    // Nothing can be asked for here: the gateway commands.
  }

  async receive(payload: Uint8Array): Promise<void> {
    const parsed = parseOlderCommand(payload);
    if (!parsed.ok) {
      this.#deps.log.warn({ reason: parsed.reason }, 'a command cannot be read');
      return;
    }
    const { value: command } = parsed;
    if (command.command === 'ota_update') await this.#update(command);
    else if (command.command === 'config_update') await this.#configure(command);
    else this.#deps.reboot();
  }

  async #update(command: OlderCommandPayload): Promise<void> {
    const { campaign_id, version, url, checksum, size_bytes } = command;
    const sha256 = /^sha256:([0-9a-f]{64})$/i.exec(checksum ?? '')?.[1]?.toLowerCase();
    if (!campaign_id || !version || !url || !size_bytes || sha256 === undefined) {
      this.#deps.log.warn({ command }, 'an update without what it needs');
      return;
    }
    const { model } = this.#options;
    await this.#deps.dispatch({
      type: 'offered',
      deviceModel: model,
      job: {
        id: campaign_id,
        campaignId: campaign_id,
        version,
        // The older set names no model: who was commanded is meant.
        model,
        url,
        sha256,
        sizeBytes: size_bytes,
      },
    });
  }

  async #configure(command: OlderCommandPayload): Promise<void> {
    const known = ['command', 'version', 'url', 'checksum', 'size_bytes', 'campaign_id'];
    for (const [setting, value] of Object.entries(command)) {
      if (known.includes(setting) || value === undefined) continue;
      const before: JsonValue = this.#deps.settings.reported[setting] ?? null;
      await this.#deps.settings.merge({ [setting]: value });
      await this.#publish('notify', {
        setting_changed: setting,
        old_value: before,
        new_value: value,
        timestamp: Date.now(),
      });
    }
    this.#deps.onSettings();
  }

  #beat(): void {
    const { model, serialNo } = this.#options;
    void this.#publish('heartbeat', {
      serial_no: serialNo,
      model,
      current_firmware: this.#deps.version(),
      timestamp: Date.now(),
    });
  }

  async #publish(kind: 'heartbeat' | 'status' | 'notify', body: object): Promise<boolean> {
    if (!this.#deps.session.isConnected) return false;
    try {
      await this.#deps.session.publish(buildTopic({ kind, device: this.#options.device }), body);
      return true;
    } catch (error) {
      // The next session begins with a heartbeat and the status that holds then.
      this.#deps.log.info({ kind, error: messageOf(error) }, 'it waits');
      return false;
    }
  }
}
