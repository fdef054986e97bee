/**
 * What this device believes of firmware and keeps: the record `firmware-trust.json` with the newest root that it trusted, the highest
 * versions of metadata that it has seen, and the newest plan.
 */
import { join } from 'node:path';
import type { AppliedPlan } from '@holdfast/provisioning/documents/decide-plan';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from './log.js';

export interface FirmwareBeliefs {
  /** Null before the first metadata. */
  readonly trusted: TrustedState | null;
  /** The newest plan whose head was seen; null before the first. */
  readonly plan: AppliedPlan | null;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const beliefsSchema = v.object({
  trusted: v.nullable(
    v.object({
      root: v.string(),
      versions: v.record(v.string(), count),
      seen: v.record(v.string(), v.object({ sha256: v.string(), keys: v.array(v.string()) })),
    }),
  ),
  plan: v.nullable(v.object({ generation: count, revision: count, sha256: v.string() })),
});

export const openFirmwareRecord = (
  dataDir: string,
  log: Log,
): Promise<StoredRecord<FirmwareBeliefs>> =>
  openRecord<FirmwareBeliefs>({
    path: join(dataDir, 'firmware-trust.json'),
    parse: (value) => v.parse(beliefsSchema, value),
    initial: { trusted: null, plan: null },
    log,
  });
