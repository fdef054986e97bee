/**
 * Learns what a native device runs from what it reports: `reported.firmware.version` of its classic shadow. The native topics have no
 * heartbeat, and a campaign has to know whom it concerns before it has offered anything.
 */
import { isJsonObject } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import type { DeviceFacts } from './device.js';

export interface ReportedFirmwareDeps {
  readonly devices: {
    get(device: string): { readonly firmwareVersion: string | null } | undefined;
    learned(device: string, facts: DeviceFacts): void;
    /** Resolves when what is known of it is on disk. */
    stored(device: string): Promise<void>;
  };
  /** Told each time that it is reported. */
  readonly reported: (device: string, version: string) => Promise<void>;
}

const longestVersion = 256;

export const reportedFirmware = ({ devices, reported }: ReportedFirmwareDeps): ShadowListener => ({
  async shadowChanged({ device, name, documents }) {
    if (name !== classicShadow) return;
    const firmware = documents?.current.state.reported?.firmware;
    const version = isJsonObject(firmware) ? firmware.version : undefined;
    if (typeof version !== 'string' || version === '' || version.length > longestVersion) return;
    if (devices.get(device)?.firmwareVersion !== version) {
      devices.learned(device, { firmwareVersion: version });
    }
    // It is told once: whoever told it will not say it again after the gateway was killed.
    await devices.stored(device);
    await reported(device, version);
  },
});
