/** What the journal says of the site itself: its plan, its store, its orders. The audit lane is kept whole, whatever an entry does. */
import { type PlanAnswer, recordPlanAnswer } from '../sites/plan-answer.js';
import type { EffectRegistry } from './effect-registry.js';

export interface SiteEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly log: { warn(data: object, message: string): void };
}

export const registerSiteEffects = ({ effects, log }: SiteEffectsDependencies): void => {
  effects.register('audit', 'plan_applied', async ({ tx, site, isFenced }, entries) => {
    for (const { body } of isFenced ? [] : entries) await recordPlanAnswer(tx, site, body);
    return undefined;
  });
  effects.register('audit', 'plan_refused', async ({ tx, site, isFenced }, entries) => {
    for (const { body } of isFenced ? [] : entries) {
      const { generation, revision, code, message } = body;
      const answer: PlanAnswer = { generation, revision, refused: { code, message } };
      await recordPlanAnswer(tx, site, answer);
    }
    return undefined;
  });
  effects.register('audit', 'store_rebuilt', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'a site found a damaged database'));
    }
    return undefined;
  });
  effects.register('audit', 'order_failed', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'a site could not carry out an order'));
    }
    return undefined;
  });
  // Nothing to do: their numbers are accounted for by being taken in.
  effects.register('state', 'compacted', async () => undefined);
};
