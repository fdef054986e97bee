/** The firmware cache as people are shown it. */
import { stat } from 'node:fs/promises';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { partialOf } from '@holdfast/provisioning/transfer/download';
import type { HeldImages } from './held-images.js';
import type { ImageNotes, Pin } from './image-notes.js';
import type { ImageWants } from './image-wants.js';
import type { WantedImage } from './wanted-images.js';

export interface CacheRow {
  readonly sha256: string;
  /** Null where nobody knows any more what it is. */
  readonly model: string | null;
  readonly version: string | null;
  /** The version that a delta was made from; null for an image. */
  readonly deltaFrom: string | null;
  readonly sizeBytes: number;
  readonly receivedBytes: number;
  readonly state: 'held' | 'fetching' | 'waiting';
  /** What it waits for, in a sentence after "it"; null when it is only not its turn. */
  readonly waitsFor: string | null;
  readonly isUrgent: boolean;
  /** Campaigns of the plan that install it. */
  readonly campaigns: readonly string[];
  readonly pin: Pin | null;
}

interface CacheRowsDeps {
  readonly images: HeldImages;
  readonly wants: ImageWants;
  readonly notes: ImageNotes | undefined;
  readonly fetching: string | undefined;
  readonly waitsFor: (image: WantedImage) => string | undefined;
}

/** What is wanted in the order of its turn, then what is held besides, the most recently used first. */
export const cacheRows = async (deps: CacheRowsDeps): Promise<CacheRow[]> => {
  const { images, wants } = deps;
  const wanted = wants.inTurn();
  const rows = await Promise.all(wanted.map((image) => wantedRow(deps, image)));
  const others = images.byUse().filter(({ sha256 }) => wants.get(sha256) === undefined);
  return [
    ...rows,
    ...others.reverse().map(({ sha256, sizeBytes }) => otherRow(deps, wanted, sha256, sizeBytes)),
  ];
};

const wantedRow = async (deps: CacheRowsDeps, image: WantedImage): Promise<CacheRow> => {
  const { images, notes, fetching, waitsFor } = deps;
  const { body, isUrgent, campaigns } = image;
  const { sha256, model, version, size_bytes: sizeBytes } = body;
  const common = { sha256, model, version, sizeBytes, isUrgent, campaigns, deltaFrom: null };
  const pin = notes?.get(sha256)?.pin ?? null;
  if (images.has(sha256)) {
    return { ...common, pin, state: 'held', receivedBytes: sizeBytes, waitsFor: null };
  }
  const begun = await stat(partialOf(images.pathOf(sha256))).catch(() => undefined);
  return {
    ...{ ...common, pin },
    state: fetching === sha256 ? 'fetching' : 'waiting',
    receivedBytes: begun?.size ?? 0,
    waitsFor: waitsFor(image) ?? null,
  };
};

const otherRow = (
  { notes }: CacheRowsDeps,
  wanted: readonly WantedImage[],
  sha256: string,
  sizeBytes: number,
): CacheRow => {
  const known: FirmwareBody | undefined = notes?.get(sha256)?.body;
  for (const { body } of wanted) {
    const delta = body.deltas?.find((one) => one.sha256 === sha256);
    if (delta === undefined) continue;
    const { model, version } = body;
    const from = { model, version, deltaFrom: delta.from_version };
    return { ...held(sha256, sizeBytes), ...from };
  }
  return {
    ...held(sha256, sizeBytes),
    model: known?.model ?? null,
    version: known?.version ?? null,
  };
};

const held = (sha256: string, sizeBytes: number): CacheRow => ({
  ...{ sha256, sizeBytes, receivedBytes: sizeBytes, state: 'held' },
  ...{ model: null, version: null, deltaFrom: null, pin: null, waitsFor: null },
  ...{ isUrgent: false, campaigns: [] },
});
