/**
 * Makes a firmware image of one that the site holds and a delta that it fetched: fewer bytes over the WAN for the same image. The result
 * is on disk under its name and has the digest that was asked for; otherwise nothing is there, and the image itself is to be fetched.
 */
import type { FirmwareBody, FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import { applyDelta } from '@holdfast/provisioning/delta/apply-delta';
import { deltaFormat, digestOfNothing } from '@holdfast/provisioning/delta/delta-format';

export interface ImageRebuild {
  readonly firmware: FirmwareBody;
  readonly delta: FirmwareDelta;
  /** The delta's file, verified. */
  readonly deltaPath: string;
  /** The image that it is applied to; null where the delta's source is nothing. */
  readonly sourcePath: string | null;
  /** Where the image goes. */
  readonly path: string;
  readonly signal: AbortSignal;
}

/** Errors: as `applyDelta`. */
export const rebuildImage = async ({
  firmware,
  delta,
  deltaPath,
  sourcePath,
  path,
  signal,
}: ImageRebuild): Promise<void> => {
  await applyDelta({
    source: delta.from_sha256 === digestOfNothing ? null : sourcePath,
    delta: deltaPath,
    format: delta.format,
    target: path,
    sha256: firmware.sha256,
    sizeBytes: firmware.size_bytes,
    signal,
  });
};

/** The deltas that can be applied to what is held, smallest first, and smaller than the image. */
export const usableDeltas = (
  { deltas = [], size_bytes }: FirmwareBody,
  isHeld: (sha256: string) => boolean,
): FirmwareDelta[] =>
  deltas
    .filter(
      (delta) =>
        delta.format === deltaFormat &&
        delta.size_bytes < size_bytes &&
        (delta.from_sha256 === digestOfNothing || isHeld(delta.from_sha256)),
    )
    .sort((a, b) => a.size_bytes - b.size_bytes);
