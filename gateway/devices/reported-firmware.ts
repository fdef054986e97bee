/**
 * Learns what a device runs, and on what, from what it reports in its classic shadow: `reported.firmware.version` and
 * `reported.device.hardware`. Neither native topics nor those of AWS IoT have a heartbeat that would say it, and a campaign has to know
 * whom it concerns before it has offered anything.
 */
import { isJsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import type { Device, DeviceFacts } from './device.js';

export interface ReportedFirmwareDeps {
  readonly devices: {
    get(device: string): Pick<Device, 'firmwareVersion' | 'hardware'> | undefined;
    learned(device: string, facts: DeviceFacts): void;
    /** Resolves when what is known of it is on disk. */
    stored(device: string): Promise<void>;
  };
  /** Told each time that a version is reported. */
  readonly reported: (device: string, version: string) => Promise<void>;
}

const longest = 256;

export const reportedFirmware = ({ devices, reported }: ReportedFirmwareDeps): ShadowListener => ({
  async shadowChanged({ device, name, documents }) {
    if (name !== classicShadow) return;
    const state = documents?.current.state.reported;
    const version = textOf(state?.firmware, 'version');
    const hardware = textOf(state?.device, 'hardware');
    if (version === undefined && hardware === undefined) return;
    const known = devices.get(device);
    const facts = {
      ...(version !== undefined &&
        version !== known?.firmwareVersion && { firmwareVersion: version }),
      ...(hardware !== undefined && hardware !== known?.hardware && { hardware }),
    };
    // Together: the version makes it fit for a campaign, the hardware may make it unfit.
    if (Object.keys(facts).length > 0) devices.learned(device, facts);
    // It is told once: whoever told it will not say it again after the gateway was killed.
    await devices.stored(device);
    if (version !== undefined) await reported(device, version);
  },
});

const textOf = (object: JsonValue | undefined, key: string): string | undefined => {
  const text = isJsonObject(object) ? object[key] : undefined;
  return typeof text === 'string' && text !== '' && text.length <= longest ? text : undefined;
};
