/**
 * The audit: who did what. An entry is written in the transaction of what it tells of, so that there is none without the other. Entries
 * are only ever added; the oldest go by their age (`retention.auditDays`).
 */
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { Caller } from '../api/caller.js';
import type { Aging } from '../store/retention.js';
import type { WriteTransaction } from '../store/sql-engine.js';

export type AuditAction =
  | `campaign.${'created' | 'scheduled' | 'started' | 'paused' | 'resumed' | 'cancelled' | 'completed' | 'rolled_back' | 'phase_approved' | 'phase_released' | 'phase_passed'}`
  | `emergency_stop.${'made' | 'lifted'}`
  | `firmware.${'keys_published' | 'signed' | 'uploaded' | 'deleted' | 'refused'}`
  | `group.${'created' | 'changed' | 'deleted'}`
  | `site.${'change_requested' | 'deleted'}`;

export interface AuditedAct {
  readonly action: AuditAction;
  /** As `auditActor` names callers; `cloud` and `site` for what the programs do by themselves. */
  readonly actor: string;
  /** As `campaigns/{campaign}`. */
  readonly resource?: string;
  readonly site?: string;
  readonly reason?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** When it was done, epoch ms, where that was elsewhere. */
  readonly at?: number;
}

/** Whoever calls the API, as the audit names people of the control plane. */
export const auditActor = (caller: Caller | undefined): string =>
  `cloud:${caller?.name ?? 'unknown'}`;

/** `now` is epoch ms by the clock here. */
export const recordAudit = async (
  { db }: Pick<WriteTransaction, 'db'>,
  now: number,
  act: AuditedAct,
): Promise<void> => {
  const { last } = await db
    .selectFrom('audit_entries')
    .select((eb) => eb.fn.max('number').as('last'))
    .executeTakeFirstOrThrow();
  await db
    .insertInto('audit_entries')
    .values({
      number: Number(last ?? 0) + 1,
      at: act.at ?? now,
      recorded_at: now,
      actor: act.actor,
      action: act.action,
      resource: act.resource ?? '',
      site_id: act.site ?? '',
      reason: act.reason ?? '',
      details: canonicalJson(act.details ?? {}),
    })
    .execute();
};

/** The newest entry stays however old it is: the numbers of those to come rise from it. */
export const agingAudit = (days: number): Aging => ({
  name: 'audit',
  days,
  forget: (until, repeat) =>
    repeat(async ({ db }, limit) => {
      const { last } = await db
        .selectFrom('audit_entries')
        .select((eb) => eb.fn.max('number').as('last'))
        .executeTakeFirstOrThrow();
      const old = db
        .selectFrom('audit_entries')
        .select('number')
        .where('recorded_at', '<=', until)
        .where('number', '<', Number(last ?? 0))
        .orderBy('recorded_at')
        .limit(limit);
      const { numDeletedRows } = await db
        .deleteFrom('audit_entries')
        .where('number', 'in', old)
        .executeTakeFirst();
      return Number(numDeletedRows);
    }),
});
