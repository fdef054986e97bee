/** The methods about who wins conflicts; a change asks for the plans of the sites that it concerns. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type ConflictPolicy,
  type ConflictRule as RuleMessage,
  type ShadowsService,
  ConflictWinner as WinnerMessage,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import {
  type ConflictRule,
  type ConflictWinner,
  conflictRule,
} from '@holdfast/protos/semantics/conflict-policy';
import * as v from 'valibot';
import { parseName } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { checkEtag, requireSite } from '../sites/site-records.js';
import { requireMask } from '../sites/site-service.js';
import type { SqlEngine } from '../store/sql-engine.js';
import {
  type ConflictPolicyRow,
  everySite,
  mostRules,
  readConflictPolicy,
  rulesOf,
} from './conflict-policies.js';

export interface ConflictPolicyMethodsDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

type ConflictPolicyMethods = Pick<
  Handlers<typeof ShadowsService>,
  'getConflictPolicy' | 'updateConflictPolicy'
>;

export const conflictPolicyMethods = ({
  engine,
  plans,
  now,
}: ConflictPolicyMethodsDependencies): ConflictPolicyMethods => {
  const get = async (site: string): Promise<ConflictPolicy> => {
    if (site !== everySite) await requireSite(engine.read, site);
    return policyMessage(await readConflictPolicy(engine.read, site));
  };
  return {
    getConflictPolicy: ({ name }) => get(parsePolicyName(name)),

    updateConflictPolicy: async ({ policy, updateMask }) => {
      if (policy === undefined) throw new HoldfastError('REQUEST_INVALID', 'policy is missing');
      const site = parsePolicyName(policy.name);
      requireMask(updateMask, 'rules');
      const rules = JSON.stringify(requireRules(policy.rules));
      await engine.write(async (tx) => {
        if (site !== everySite) await requireSite(tx.db, site);
        const row = await readConflictPolicy(tx.db, site);
        checkEtag(policy.etag, row.version, 'The conflict policy');
        const values = { rules, version: row.version + 1, updated_at: now() };
        await tx.db
          .insertInto('conflict_policies')
          .values({ site_id: site, ...values })
          .onConflict((c) => c.column('site_id').doUpdateSet(values))
          .execute();
        if (site === everySite) await plans.requestAll(tx);
        else await plans.request(tx, [site]);
      });
      return get(site);
    },
  };
};

const policyMessage = (row: ConflictPolicyRow): ConflictPolicy => ({
  name: `sites/${row.site_id}/conflictPolicy`,
  rules: rulesOf(row).map(({ shadow = '', path, winner }) => ({
    shadow,
    path,
    winner: messageOfWinner[winner],
  })),
  updateTime: row.version === 0 ? undefined : new Date(row.updated_at),
  etag: String(row.version),
});

const messageOfWinner: Readonly<Record<ConflictWinner, WinnerMessage>> = {
  cloud: WinnerMessage.CONFLICT_WINNER_CLOUD,
  site: WinnerMessage.CONFLICT_WINNER_SITE,
  latest: WinnerMessage.CONFLICT_WINNER_LATEST,
};

const parsePolicyName = (name: string): string =>
  parseName(name, 'sites/{site}/conflictPolicy', { wildcard: true })[0] ?? '';

/** Errors: REQUEST_INVALID. */
const requireRules = (rules: readonly RuleMessage[]): ConflictRule[] => {
  if (rules.length > mostRules) {
    throw new HoldfastError('REQUEST_INVALID', `rules: ${mostRules} are allowed`);
  }
  return rules.map(({ shadow, path, winner }, index) => {
    const parsed = v.safeParse(conflictRule, {
      ...(shadow === '' ? {} : { shadow }),
      path,
      winner: winnerOfMessage(winner),
    });
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    const why = v.getDotPath(issue) === 'winner' ? 'say who wins' : issue.message;
    throw new HoldfastError('REQUEST_INVALID', `rules[${index}] (${path.slice(0, 100)}): ${why}`);
  });
};

const winnerOfMessage = (winner: WinnerMessage): string | undefined =>
  Object.entries(messageOfWinner).find(([, message]) => message === winner)?.[0];
