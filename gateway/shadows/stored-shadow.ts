import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type HybridTime, laterOf, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  emptyShadow,
  idOf,
  keyOf,
  latestTime,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Statement } from '@holdfast/provisioning/storage/write';
import * as v from 'valibot';
import { conflictSchema } from './shadow-conflicts.js';

/** A shadow as it is kept: its leaves and what is lost in one row, since every change reads all of them. */
export interface StoredShadow {
  /** Counts every change here; stays when the shadow is deleted, so that it never goes back. */
  readonly version: number;
  /** Whether there is a shadow: a deleted one keeps its version and its deletions. */
  readonly exists: boolean;
  readonly state: ShadowState;
  /** The highest time it ever held: what was forgotten had one too. */
  readonly time: HybridTime;
}

export interface ShadowKey {
  readonly device: string;
  /** `classicShadow` for the classic one. */
  readonly name: string;
}

export const noShadow: StoredShadow = {
  version: 0,
  exists: false,
  state: emptyShadow,
  time: zeroTime,
};

/** What a shadow becomes with another state; `held` is that with what was forgotten at once. */
export const withState = (
  before: StoredShadow,
  state: ShadowState,
  {
    version,
    exists,
    held = state,
  }: Pick<StoredShadow, 'version' | 'exists'> & { readonly held?: ShadowState },
): StoredShadow => {
  const latest = latestTime([...held.leaves.values(), ...held.lost.values()]);
  return { version, exists, state, time: laterOf(before.time, latest) };
};

/** `state` is `{leaves, lost}`. */
export const shadowSchema = `
CREATE TABLE shadows (
  device TEXT NOT NULL,
  name TEXT NOT NULL,
  wall INTEGER NOT NULL,
  counter INTEGER NOT NULL,
  version INTEGER NOT NULL,
  is_present INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (device, name)
) STRICT;
${conflictSchema}`;

export interface ShadowRow {
  readonly wall: number;
  readonly counter: number;
  readonly version: number;
  readonly is_present: number;
  readonly state: string;
}

export const selectShadow = `SELECT wall, counter, version, is_present, state FROM shadows WHERE device = ? AND name = ?`;

/** STORE_CORRUPT for a row that is none of ours. */
export const readShadow = (row: ShadowRow | undefined): StoredShadow => {
  if (row === undefined) return noShadow;
  try {
    const { leaves, lost } = v.parse(rowSchema, JSON.parse(row.state));
    const state = {
      leaves: new Map(parseShadowOperations(leaves).map((leaf) => [keyOf(leaf.path), leaf])),
      lost: new Map(parseShadowOperations(lost).map((loser) => [idOf(loser), loser])),
    };
    const { version, wall, counter } = row;
    return { version, exists: row.is_present === 1, state, time: { wall, counter } };
  } catch (cause) {
    throw new HoldfastError('STORE_CORRUPT', 'a shadow in the database is damaged', { cause });
  }
};

/** What stores a changed shadow; fails with STORE_CONFLICT when it is not the one that was decided on. */
export const shadowStatement = (
  { device, name }: ShadowKey,
  before: StoredShadow,
  after: StoredShadow,
  now: number,
): Statement => {
  const { wall, counter } = after.time;
  const state = JSON.stringify({
    leaves: [...after.state.leaves.values()],
    lost: [...after.state.lost.values()],
  });
  const values = [wall, counter, after.version, after.exists ? 1 : 0, now, state, device, name];
  return before === noShadow
    ? {
        sql: `INSERT INTO shadows (wall, counter, version, is_present, updated_at, state, device, name)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
        params: values,
        expectChanges: 1,
      }
    : {
        sql: `UPDATE shadows SET wall = ?, counter = ?, version = ?, is_present = ?, updated_at = ?, state = ?
            WHERE device = ? AND name = ? AND version = ?`,
        params: [...values, before.version],
        expectChanges: 1,
      };
};

const rowSchema = v.object({ leaves: v.array(v.unknown()), lost: v.array(v.unknown()) });
