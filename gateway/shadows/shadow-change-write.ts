/** What is committed with a changed shadow: its row, its conflicts, its history, what the control plane and the doors are told. */
import type { Append, Statement, Write } from '@holdfast/provisioning/storage/write';
import { journalEntry } from '../store/journal.js';
import { effect } from '../store/outbox.js';
import {
  changeId,
  changeOf,
  type ShadowAnswer,
  type ShadowAsker,
  shadowChanged,
} from './shadow-change.js';
import { conflictChanges } from './shadow-conflicts.js';
import type { ChangedShadow } from './shadow-decision.js';
import { historyAppends } from './shadow-history-rows.js';
import { lossStatement } from './shadow-losses.js';
import { type ShadowKey, type StoredShadow, shadowStatement } from './stored-shadow.js';

export interface ChangeMoment {
  readonly now: number;
  readonly trusted: boolean;
  /** Of this end. */
  readonly replica: string;
}

export interface ChangeWrite {
  readonly write: Write;
  readonly historyBytes: number;
  readonly conflictsAdded: number;
}

export const changeWrite = (
  key: ShadowKey,
  before: StoredShadow,
  decision: ChangedShadow,
  at: ChangeMoment,
  answer: (ShadowAsker & ShadowAnswer) | undefined,
): ChangeWrite => {
  const { shadow, applied, settled, dropped } = decision;
  const { now, trusted } = at;
  const conflicts = conflictChanges(key, before.state, shadow.state, {
    applied,
    settled,
    forgotten: dropped,
    now,
    trusted,
  });
  const history = historyAppends(key, before, shadow, applied, at);
  return {
    write: [
      shadowStatement(key, before, shadow, now),
      ...conflicts.statements,
      ...droppedWrite(key, dropped.size, now),
      ...history.rows,
      ...journalWrite(key, decision, now),
      ...toldWrite(key, before, decision, now, answer),
    ],
    historyBytes: history.bytes,
    conflictsAdded: conflicts.added,
  };
};

/** Counted here, and told: nobody can settle these any more. */
export const droppedWrite = (
  { device, name }: ShadowKey,
  conflicts: number,
  now: number,
): readonly (Statement | Append)[] =>
  conflicts === 0
    ? []
    : [
        lossStatement('conflicts', conflicts, now),
        journalEntry('audit', 'shadow_conflicts_dropped', { device, shadow: name, conflicts }, now),
      ];

const journalWrite = (
  { device, name }: ShadowKey,
  { operations, dead, isDeletion }: ChangedShadow,
  now: number,
): readonly Append[] => {
  if (operations.length + dead.length === 0 && !isDeletion) return [];
  const entry = {
    device,
    shadow: name,
    operations: [...operations],
    ...(dead.length === 0 ? {} : { dead: [...dead] }),
    ...(isDeletion ? { deleted: true } : {}),
  };
  return [journalEntry('state', 'shadow', entry, now)];
};

const toldWrite = (
  key: ShadowKey,
  before: StoredShadow,
  { shadow, isDeletion }: ChangedShadow,
  now: number,
  answer: (ShadowAsker & ShadowAnswer) | undefined,
): readonly Append[] => {
  const isTold = answer !== undefined || isDeletion || shadow.version !== before.version;
  if (!isTold) return [];
  const id = changeId(key, shadow.version, isDeletion);
  const change = changeOf(key, before, shadow, now, answer);
  return [effect(shadowChanged, id, change, `shadow:${key.device}`)];
};
