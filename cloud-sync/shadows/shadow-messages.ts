/** Shadows and their conflicts as the API shows them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  ShadowConflict as ConflictMessage,
  Shadow,
  ShadowWrite,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import { isShadowName } from '@holdfast/protos/mqtt/device-id';
import { classicShadow, deltaOf, renderShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowConflict, ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import type { Selectable } from 'kysely';
import { deviceName, parseDeviceName } from '../api/resource-name.js';
import type { Schema } from '../store/schema.js';
import { replicaOf, type ShadowKey, type ShadowRow } from './shadow-records.js';

/** Errors: REQUEST_INVALID. */
export const parseShadowName = (name: string): ShadowKey => {
  const parts = name.split('/');
  const shadow = parts.pop() ?? '';
  if (parts.pop() === 'shadows' && (shadow === classicShadow || isShadowName(shadow))) {
    return { ...parseDeviceName(parts.join('/')), shadow };
  }
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${name.slice(0, 200)}" is no name of the form sites/{site}/devices/{device}/shadows/{shadow}; the classic shadow is -`,
  );
};

const shadowName = (site: string, device: string, shadow: string): string =>
  `${deviceName(site, device)}/shadows/${shadow}`;

export const shadowMessage = (row: ShadowRow): Shadow => {
  const { state } = replicaOf(row);
  const { desired, reported } = renderShadow(state).state;
  return {
    name: shadowName(row.site_id, row.device_id, row.shadow),
    desired: desired && { ...desired },
    reported: reported && { ...reported },
    delta: deltaOf(state)?.state,
    version: BigInt(row.version),
    updateTime: new Date(row.updated_at),
  };
};

export const conflictMessage = (row: Selectable<Schema['shadow_conflicts']>): ConflictMessage => {
  const { path, winner, loser } = JSON.parse(row.conflict) as ShadowConflict; // shadow-records wrote it
  return {
    shadow: shadowName(row.site_id, row.device_id, row.shadow),
    path: [...path],
    winner: winner && writeMessage(winner),
    loser: writeMessage(loser),
    detectTime: new Date(row.detected_at),
    name: `${shadowName(row.site_id, row.device_id, row.shadow)}/conflicts/${row.conflict_id}`,
    settlement: undefined,
  };
};

const writeMessage = ({ stamp, value, trusted }: ShadowOperation): ShadowWrite => ({
  writer: stamp.writer,
  time: new Date(stamp.wall),
  valueJson: value === undefined ? '' : JSON.stringify(value),
  clockUntrusted: trusted === false,
});
