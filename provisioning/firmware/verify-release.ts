/**
 * Verification of firmware as The Update Framework has it (specification 1.0, section 5), with the head of the plan in the place of
 * snapshot and timestamp. Pure: the same answer at the gateway, at the device, at the control plane and at the terminal.
 */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type DeviceOfRelease, refuseForDevice } from './fits-device.js';
import type { FirmwareRelease } from './manifest.js';
import type { MetadataFile } from './metadata-file.js';
import { checkFresh, checkNamed, type HeadOfMetadata } from './plan-mandate.js';
import { findRelease } from './release-target.js';
import { TrustedRoles } from './trusted-roles.js';
import type { TrustedState } from './trusted-state.js';

/** Under another version an older release would pass for a newer one. */
export interface PlannedImage {
  readonly model: string;
  readonly version: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface VerifyOptions {
  /** Names the files that are current; null where there is no plan (an image checked at the terminal, an upload). */
  readonly head: HeadOfMetadata | null;
  /** How long after its expiry the plan's policy lets metadata count; 0. In ms. */
  readonly expiredGraceMs?: number | undefined;
  /** Of the campaign: how old the head may be for a new device. In ms. */
  readonly maxPlanAgeMs?: number | undefined;
  /** What the plan says of the image, to be the same. */
  readonly image?: PlannedImage | undefined;
  /** The device it is to run on, as far as it is known here. */
  readonly device?: DeviceOfRelease | undefined;
}

export interface Refused {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
}

export type ReleaseVerdict =
  | {
      readonly ok: true;
      readonly release: FirmwareRelease;
      /** To be kept for the next time, whatever becomes of the release. */
      readonly trusted: TrustedState;
    }
  | Refused;

export type MetadataVerdict =
  | {
      readonly ok: true;
      readonly trusted: TrustedState;
      /** Names of the roles but root that were verified. */
      readonly roles: readonly string[];
    }
  | Refused;

/**
 * Verifies the release that a target's name stands for. `trusted` null trusts the first root among the files (first contact). `now` is
 * the time in epoch ms, or null while the clock is not trusted: then dates are not checked, everything else is.
 */
export const verifyRelease = (
  trusted: TrustedState | null,
  metadata: readonly MetadataFile[],
  target: string,
  now: number | null,
  options: VerifyOptions,
): ReleaseVerdict => releaseVerifier(trusted, metadata, now, options)(target, options);

/** Verifies many releases of the same metadata, each role of it once. */
export const releaseVerifier = (
  trusted: TrustedState | null,
  metadata: readonly MetadataFile[],
  now: number | null,
  options: Pick<VerifyOptions, 'head' | 'expiredGraceMs' | 'maxPlanAgeMs'>,
): ((target: string, of: Pick<VerifyOptions, 'image' | 'device'>) => ReleaseVerdict) => {
  let opened: TrustedRoles | undefined;
  return (target, { image, device }) =>
    verdictOf(() => {
      opened ??= openRoles(trusted, metadata, now, options);
      const release = findRelease(opened, target);
      if (image !== undefined && !isSame(image, release)) {
        throw new HoldfastError(
          'FIRMWARE_MIX_AND_MATCH',
          `The plan has another image for ${target} than the one that was signed`,
        );
      }
      const unfit = device === undefined ? undefined : refuseForDevice(release, device);
      if (unfit !== undefined) throw new HoldfastError(unfit.code, unfit.message);
      return { ok: true, release, trusted: opened.trusted };
    });
};

/**
 * Verifies every file there is, and looks for no release: what a gateway keeps of a plan, and a control plane of an upload. A file of a
 * role that nobody delegates to any more is passed over.
 */
export const verifyMetadata = (
  trusted: TrustedState | null,
  metadata: readonly MetadataFile[],
  now: number | null,
  options: Pick<VerifyOptions, 'head' | 'expiredGraceMs' | 'maxPlanAgeMs'>,
): MetadataVerdict =>
  verdictOf(() => {
    const roles = openRoles(trusted, metadata, now, options);
    roles.openAll();
    return { ok: true, trusted: roles.trusted, roles: roles.opened };
  });

/**
 * The roles but root that have to be looked at to find a release, or to know that nobody has signed it, of metadata that was verified. Where
 * the way ends (a role whose file is not there), those before: whoever looks for the release refuses it by name.
 */
export const rolesOfTarget = (metadata: readonly MetadataFile[], target: string): string[] => {
  const roles = openRoles(null, metadata, null, { head: null });
  try {
    findRelease(roles, target);
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
  }
  return roles.opened;
};

const openRoles = (
  trusted: TrustedState | null,
  metadata: readonly MetadataFile[],
  now: number | null,
  { head, expiredGraceMs = 0, maxPlanAgeMs }: VerifyOptions,
): TrustedRoles => {
  if (head !== null) {
    checkNamed(head, metadata);
    checkFresh(head, now, maxPlanAgeMs);
  }
  return new TrustedRoles(trusted, metadata, { now, expiredGraceMs });
};

const isSame = (image: PlannedImage, { manifest, sha256, sizeBytes }: FirmwareRelease): boolean =>
  image.model === manifest.model &&
  image.version === manifest.version &&
  image.sha256 === sha256 &&
  image.sizeBytes === sizeBytes;

const verdictOf = <T>(work: () => T): T | Refused => {
  try {
    return work();
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return { ok: false, code: error.code, message: error.message };
  }
};
