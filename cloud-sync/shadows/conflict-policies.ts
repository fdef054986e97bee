/** The rows of conflict policies: of a site, and under `-` what holds at every site where its own rules say nothing. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type ConflictRule, conflictRules } from '@holdfast/protos/semantics/conflict-policy';
import type { Kysely, Selectable } from 'kysely';
import * as v from 'valibot';
import type { Schema } from '../store/schema.js';

export type ConflictPolicyRow = Selectable<Schema['conflict_policies']>;

/** Stands for every site. */
export const everySite = '-';
/** Of a site, and of all: a plan holds both. */
export const mostRules = 500;

/** Without rules, version 0, where none was ever set. */
export const readConflictPolicy = async (
  db: Kysely<Schema>,
  site: string,
): Promise<ConflictPolicyRow> => {
  const row = await db
    .selectFrom('conflict_policies')
    .selectAll()
    .where('site_id', '=', site)
    .executeTakeFirst();
  return row ?? { site_id: site, rules: '[]', version: 0, updated_at: 0 };
};

/** Errors: STORE_CORRUPT. */
export const rulesOf = ({ rules }: Pick<ConflictPolicyRow, 'rules'>): ConflictRule[] => {
  const parsed = v.safeParse(conflictRules, JSON.parse(rules));
  if (parsed.success) return parsed.output;
  throw new HoldfastError('STORE_CORRUPT', 'A conflict policy in the database is damaged');
};

/** What holds at a site: its own rules, then those for all. */
export const conflictRulesOf = async (
  db: Kysely<Schema>,
  site: string,
): Promise<readonly ConflictRule[]> => [
  ...rulesOf(await readConflictPolicy(db, site)),
  ...rulesOf(await readConflictPolicy(db, everySite)),
];
