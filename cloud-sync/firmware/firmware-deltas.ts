/** The deltas that were made of firmware, as documents name them, and those that are yet to be made. */
import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import { deltaFormat, digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import { type FirmwareRow, firmwarePath } from './firmware-library.js';

/** The deltas of these firmware, as their documents have them; whoever has none is left out. */
export const deltasOf = async (
  db: Kysely<Schema>,
  firmware: readonly string[],
): Promise<ReadonlyMap<string, FirmwareDelta[]>> => {
  const deltas = new Map<string, FirmwareDelta[]>();
  if (firmware.length === 0) return deltas;
  const rows = await db
    .selectFrom('firmware_deltas')
    .selectAll()
    .where('firmware_id', 'in', firmware)
    .where('format', '!=', '')
    .orderBy('from_sha256')
    .execute();
  for (const { firmware_id, from_sha256, from_version, format, sha256, size_bytes } of rows) {
    const path = firmwarePath(sha256);
    const delta = { from_sha256, from_version, format, sha256, size_bytes, path };
    deltas.set(firmware_id, [...(deltas.get(firmware_id) ?? []), delta]);
  }
  return deltas;
};

/** One that is to be made. */
export interface DeltaTask {
  readonly firmware: FirmwareRow;
  /** Null: of nothing, which gives the image, compressed. */
  readonly source: FirmwareRow | null;
}

export interface DeltaChoice {
  /** Versions of a model that deltas are made from: so many of the most recent ones, and so many of those that most devices have. */
  readonly sources: number;
  readonly maxImageBytes: number;
  readonly isLeftOut?: (task: DeltaTask) => boolean;
}

/** Below, what a delta saves is less than what asking for it costs. */
const leastImageBytes = 16 * 1024;

/**
 * What is to be made next: first for what is in the plans of sites, then for each model's newest. Of each image the compressed one comes
 * first, since the others are measured by it.
 */
export const nextDelta = async (
  db: Kysely<Schema>,
  { sources, maxImageBytes, isLeftOut = () => false }: DeltaChoice,
): Promise<DeltaTask | undefined> => {
  if (sources === 0) return undefined;
  const all = await db
    .selectFrom('firmware')
    .selectAll()
    .where('size_bytes', '>=', leastImageBytes)
    .where('size_bytes', '<=', maxImageBytes)
    .orderBy('created_at', 'desc')
    .orderBy('firmware_id', 'desc')
    .execute();
  const done = await db
    .selectFrom('firmware_deltas')
    .select(['firmware_id', 'from_sha256'])
    .execute();
  const isDone = new Set(done.map((row) => `${row.firmware_id} ${row.from_sha256}`));
  const counts = await deviceCounts(db);
  for (const firmware of await targetsOf(db, all)) {
    const others = all.filter(
      ({ model, sha256 }) => model === firmware.model && sha256 !== firmware.sha256,
    );
    const countOf = ({ firmware_id }: FirmwareRow): number => counts.get(firmware_id) ?? 0;
    const mostRun = others
      .filter((row) => countOf(row) > 0)
      .sort((a, b) => countOf(b) - countOf(a));
    const chosen = [...mostRun.slice(0, sources), ...others.slice(0, sources)];
    for (const source of [null, ...chosen]) {
      const from = source?.sha256 ?? digestOfNothing;
      if (isDone.has(`${firmware.firmware_id} ${from}`)) continue;
      if (!isLeftOut({ firmware, source })) return { firmware, source };
    }
  }
  return undefined;
};

/** The row of a delta; without `made`, of one that was tried and is not worth its bytes. */
export const deltaRow = (
  { firmware, source }: DeltaTask,
  made: { readonly sha256: string; readonly sizeBytes: number } | null,
  now: number,
): Schema['firmware_deltas'] => ({
  firmware_id: firmware.firmware_id,
  from_sha256: source?.sha256 ?? digestOfNothing,
  from_version: source?.version ?? '',
  format: made === null ? '' : deltaFormat,
  sha256: made?.sha256 ?? '',
  size_bytes: made?.sizeBytes ?? 0,
  created_at: now,
});

const targetsOf = async (
  db: Kysely<Schema>,
  newestFirst: readonly FirmwareRow[],
): Promise<FirmwareRow[]> => {
  const planned = await db
    .selectFrom('plan_documents')
    .select('id')
    .distinct()
    .where('kind', '=', 'firmware')
    .execute();
  const isPlanned = new Set(planned.map(({ id }) => id));
  const models = new Set<string>();
  const newest = newestFirst.filter(({ model }) => !models.has(model) && models.add(model));
  const first = newestFirst.filter(({ firmware_id }) => isPlanned.has(firmware_id));
  return [...first, ...newest.filter((row) => !first.includes(row))];
};

/** How many devices have each firmware, by its id. */
const deviceCounts = async (db: Kysely<Schema>): Promise<ReadonlyMap<string, number>> => {
  const rows = await db
    .selectFrom('devices')
    .select((eb) => ['model', 'firmware_version', eb.fn.countAll<number>().as('count')])
    .where('firmware_version', 'is not', null)
    .groupBy(['model', 'firmware_version'])
    .execute();
  return new Map(rows.map((row) => [`${row.model}@${row.firmware_version}`, Number(row.count)]));
};
