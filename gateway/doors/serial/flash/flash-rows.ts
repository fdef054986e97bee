/** The state of a line's flashing as a row of site.db. One that this release cannot read is as good as none: the next offer begins anew. */
import type { Statement } from '@holdfast/provisioning/storage/write';
import * as v from 'valibot';
import type { SiteStore } from '../../../store/site-store.js';
import { type FlashState, unflashed } from './flash-state.js';

export const flashWrite = (device: string, state: FlashState, at: number): Statement => ({
  sql: 'INSERT OR REPLACE INTO line_flashes (device, state, changed_at) VALUES (?, ?, ?)',
  params: [device, JSON.stringify(state), at],
});

/** For the write with which a device goes. What is to be done to a board yet outlives it: half an image is nobody's wish. */
export const removeFlash = (device: string): Statement => ({
  sql: `DELETE FROM line_flashes WHERE device = ? AND json_extract(state, '$.flash.phase') = 'idle'`,
  params: [device],
});

export interface KeptState {
  readonly state: FlashState;
  /** Why what is on disk is none; undefined where it is, or nothing is there. */
  readonly problem?: string;
}

export const readFlash = async (read: SiteStore['read'], device: string): Promise<KeptState> => {
  const row = await read.get<{ state: string }>('SELECT state FROM line_flashes WHERE device = ?', [
    device,
  ]);
  if (row === undefined) return { state: unflashed };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), flashState), row.state);
  return parsed.success
    ? { state: parsed.output }
    : { state: unflashed, problem: parsed.issues[0].message };
};

const text = v.string();
const image = v.object({ model: text, version: text, sha256: text, sizeBytes: v.number() });
const run = v.variant('kind', [
  v.object({ kind: v.literal('job'), job: text, offer: v.number() }),
  v.object({ kind: v.literal('hand'), by: text, at: v.number() }),
]);
const damage = v.nullable(v.object({ mend: image }));
const writing = { run: v.nullable(run), image, former: v.nullable(image) };

const flashState = v.object({
  flash: v.variant('phase', [
    v.object({ phase: v.literal('idle') }),
    v.object({ phase: v.picklist(['checking', 'waiting']), run, image, damage }),
    v.object({ phase: v.literal('writing'), ...writing }),
    v.object({ phase: v.literal('proving'), ...writing, isUp: v.boolean() }),
    v.object({
      phase: v.picklist(['restoring', 'returning']),
      ...{ run: v.nullable(run), image, failed: image, why: text },
    }),
    v.object({
      phase: v.literal('settled'),
      ...{ run, outcome: v.picklist(['failed', 'rolled_back', 'cancelled']), error: text, damage },
    }),
  ]),
  running: v.nullable(image),
}) satisfies v.GenericSchema<unknown, FlashState>;
