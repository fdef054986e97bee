/** Whether a release may be installed on one device, by what is known of the device. Pure. */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import {
  isInRange,
  orderOfVersions,
  parseVersionRange,
} from '@holdfast/protos/semantics/version-order';
import type { FirmwareRelease } from './manifest.js';

/** What is left out is not judged; null is known to be unknown, and fits only what asks for nothing. */
export interface DeviceOfRelease {
  readonly model?: string | null | undefined;
  readonly hardware?: string | null | undefined;
  /** What it runs. */
  readonly version?: string | null | undefined;
  /** The highest security counter it ever ran. */
  readonly securityCounter?: number | undefined;
  /** The campaign allows this release although it is older than what runs. */
  readonly allowsOlder?: boolean | undefined;
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** undefined when it fits. */
export const refuseForDevice = (
  { target, manifest }: Pick<FirmwareRelease, 'target' | 'manifest'>,
  device: DeviceOfRelease,
): Refusal | undefined => {
  const { model, hardware, version, securityCounter = 0, allowsOlder = false } = device;
  if (model !== undefined && model !== manifest.model) {
    return refusal('FIRMWARE_WRONG_MODEL', `${target} is for ${manifest.model}, not for ${model}`);
  }
  const fits = manifest.hardware.length === 0 || manifest.hardware.includes(hardware ?? '');
  if (hardware !== undefined && !fits) {
    const known =
      hardware === null ? 'hardware of an unknown revision' : `the hardware ${hardware}`;
    return refusal(
      'FIRMWARE_WRONG_HARDWARE',
      `${target} is for the hardware ${manifest.hardware.join(', ')}, not for ${known}`,
    );
  }
  if (manifest.security_counter < securityCounter) {
    return refusal(
      'FIRMWARE_COUNTER_TOO_LOW',
      `${target} has the security counter ${manifest.security_counter}; the device has run ${securityCounter}`,
    );
  }
  if (version === undefined) return undefined;
  const range = parseVersionRange(manifest.source_versions);
  if (range === undefined || !isInRange(version, range)) {
    return refusal(
      'FIRMWARE_SOURCE_VERSION',
      `${target} follows ${manifest.source_versions}, not ${version ?? 'an unknown version'}`,
    );
  }
  const order = version === null ? undefined : orderOfVersions(manifest.version, version);
  if (order !== undefined && order < 0 && !allowsOlder) {
    return refusal(
      'FIRMWARE_ROLLBACK',
      `${target} is older than ${version}, which runs, and the campaign allows no older one`,
    );
  }
  return undefined;
};

const refusal = (code: ErrorCode, message: string): Refusal => ({ code, message });
