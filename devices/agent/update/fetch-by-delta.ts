/**
 * Makes an image of one that is kept and a smaller file that is fetched, where the job names such files and one fits. The whole image is
 * what remains when none does, or anything is wrong with it; a break goes on where it was.
 */
import { rm, stat } from 'node:fs/promises';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { applyDelta } from '@holdfast/provisioning/delta/apply-delta';
import { deltaFormat, digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import { partialOf } from '@holdfast/provisioning/transfer/download';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import { type FetchOptions, fetchFirmware } from './fetch-firmware.js';
import type { JobDelta, UpdateJob } from './update-state.js';

export interface DeltaFetch {
  readonly job: UpdateJob;
  /** Where the image goes. */
  readonly path: string;
  readonly urlOf: (path: string) => string;
  /** Where the image with this digest stands; undefined when this device has it no more. */
  readonly find: (sha256: string) => Promise<string | undefined>;
  /** Told when the image was made of one. */
  readonly onRebuilt: (delta: JobDelta) => void;
  /** Told when one does not do; the next one is tried, or the whole image. */
  readonly onFallback: (error: string) => void;
}

/** Whether the image is there now: verified, under its name. Errors: the signal's reason. */
export const fetchByDelta = async (fetch: DeltaFetch, options: FetchOptions): Promise<boolean> => {
  const { job, path, urlOf, onFallback, onRebuilt } = fetch;
  for (const { delta, source } of await usable(fetch)) {
    const file = deltaPathOf(path, delta);
    try {
      const { sha256, sizeBytes } = delta;
      // The device may have stopped while it was applied.
      if (!(await isThere(file, sha256, options.signal))) {
        const url = () => urlOf(delta.url);
        await fetchFirmware({ sha256, sizeBytes, path: file, url, isDispensable: true }, options);
      }
      await applyDelta({
        source,
        delta: file,
        format: delta.format,
        target: path,
        sha256: job.sha256,
        sizeBytes: job.sizeBytes,
        signal: options.signal,
      });
      await rm(file, { force: true });
      onRebuilt(delta);
      return true;
    } catch (error) {
      options.signal.throwIfAborted();
      onFallback(messageOf(error));
      await rm(file, { force: true });
      await rm(partialOf(file), { force: true });
    }
  }
  return false;
};

/** Beside the image, under a name that begins with its own. */
const deltaPathOf = (path: string, { sha256 }: JobDelta): string =>
  `${path}.${sha256.slice(0, 16)}.delta`;

const isThere = async (path: string, sha256: string, signal: AbortSignal): Promise<boolean> => {
  try {
    return (await digestOf(path, signal)) === sha256;
  } catch {
    signal.throwIfAborted();
    return false;
  }
};

interface UsableDelta {
  readonly delta: JobDelta;
  readonly source: string | null;
}

/** Smallest first; none that is larger than what is yet to come of the image. */
const usable = async ({ job, path, find }: DeltaFetch): Promise<UsableDelta[]> => {
  const arrived = await stat(partialOf(path)).then(
    ({ size }) => size,
    () => 0,
  );
  const found: UsableDelta[] = [];
  for (const delta of job.deltas ?? []) {
    if (delta.format !== deltaFormat || delta.sizeBytes >= job.sizeBytes - arrived) continue;
    const source = delta.fromSha256 === digestOfNothing ? null : await find(delta.fromSha256);
    if (source !== undefined) found.push({ delta, source });
  }
  return found.sort((a, b) => a.delta.sizeBytes - b.delta.sizeBytes);
};
