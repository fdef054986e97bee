/** Shadows, their conflicts and their changes as the API shows them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  ConflictKept,
  type ShadowConflict as ConflictMessage,
  type ConflictSettlement,
  type Shadow,
  type ShadowChange,
  type ShadowWrite,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import { isShadowName } from '@holdfast/protos/mqtt/device-id';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow, deltaOf, renderShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import { deviceName, parseDeviceName } from '../api/resource-name.js';
import { type ConflictRow, conflictOf } from './conflict-records.js';
import type { ChangeRow } from './list-changes.js';
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

/** Errors: REQUEST_INVALID. */
export const parseConflictName = (name: string): ShadowKey & { readonly conflict: string } => {
  const [, shadow, conflict] = /^(.*)\/conflicts\/([0-9a-f]{64})$/.exec(name) ?? [];
  if (shadow !== undefined && conflict !== undefined) {
    return { ...parseShadowName(shadow), conflict };
  }
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${name.slice(0, 200)}" is no name of a conflict: take one as ListConflicts gives it`,
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

/** What a watch says of a shadow that there is not. */
export const noShadowMessage = ({ site, device, shadow }: ShadowKey): Shadow => ({
  name: shadowName(site, device, shadow),
  desired: undefined,
  reported: undefined,
  delta: undefined,
  version: 0n,
  updateTime: undefined,
});

export const conflictMessage = (row: ConflictRow): ConflictMessage => {
  const { path, winner, loser } = conflictOf(row);
  const shadow = shadowName(row.site_id, row.device_id, row.shadow);
  return {
    shadow,
    path: [...path],
    winner: winner && writeMessage(winner),
    loser: writeMessage(loser),
    detectTime: new Date(row.detected_at),
    name: `${shadow}/conflicts/${row.conflict_id}`,
    settlement: settlementMessage(row),
  };
};

export const changeMessage = (row: ChangeRow): ShadowChange => ({
  shadow: shadowName(row.site_id, row.device_id, row.shadow),
  version: BigInt(row.version),
  time: new Date(row.at),
  writer: row.writer,
  writeTime: new Date(row.written_at),
  clockUntrusted: row.is_trusted === 0,
  changes: row.changes.map(({ path, before, after }) => ({
    path: [...path],
    beforeJson: jsonText(before),
    afterJson: jsonText(after),
  })),
  deleted: row.is_deletion === 1,
});

const keptMessages = {
  winner: ConflictKept.CONFLICT_KEPT_WINNER,
  loser: ConflictKept.CONFLICT_KEPT_LOSER,
  other: ConflictKept.CONFLICT_KEPT_OTHER,
} as const;

const settlementMessage = ({
  settled_at,
  settled_by,
  kept,
}: ConflictRow): ConflictSettlement | undefined =>
  settled_at === null
    ? undefined
    : {
        settleTime: new Date(settled_at),
        writer: settled_by ?? '',
        kept: keptMessages[kept ?? 'other'],
      };

const writeMessage = ({ stamp, value, trusted }: ShadowOperation): ShadowWrite => ({
  writer: stamp.writer,
  time: new Date(stamp.wall),
  valueJson: jsonText(value),
  clockUntrusted: trusted === false,
});

/** Empty where there is nothing. */
const jsonText = (value: JsonValue | undefined): string =>
  value === undefined ? '' : JSON.stringify(value);
