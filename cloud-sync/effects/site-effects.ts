/** What the journal says of the site itself: its plan, its store, its orders. The audit lane is kept whole, whatever an entry does. */

import type { Orders } from '../link/orders.js';
import { type PlanAnswer, recordPlanAnswer } from '../sites/plan-answer.js';
import type { EffectRegistry } from './effect-registry.js';

export interface SiteEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly orders: Orders;
  readonly log: { warn(data: object, message: string): void };
}

/** Where a site keeps its shadows. */
const siteDatabase = 'site.db';

export const registerSiteEffects = ({ effects, orders, log }: SiteEffectsDependencies): void => {
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
  effects.register('audit', 'store_rebuilt', async ({ tx, site, isFenced }, entries) => {
    // Where the site had acknowledged orders it was seen when they met; it may have lost what it had without ever having had one.
    if (!isFenced && entries.some(({ body }) => body.database === siteDatabase)) {
      await orders.resupply(tx, site);
    }
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
  effects.register('audit', 'shadow_conflicts_dropped', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'a site has no room for conflicts'));
    }
    return undefined;
  });
  // Nothing to do: their numbers are accounted for by being taken in.
  effects.register('state', 'compacted', async () => undefined);
};
