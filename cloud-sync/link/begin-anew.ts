/**
 * After a restore from a backup: numbers that were given away since the backup are given away again, for other orders and plans. Once
 * as many are, a site cannot tell them from those it has, so every site is met with a new log of orders and a higher generation.
 */
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { SqlEngine } from '../store/sql-engine.js';
import type { Orders } from './orders.js';

export interface BeginAnewDependencies {
  readonly engine: SqlEngine;
  readonly orders: Pick<Orders, 'supplyAnew'>;
  readonly plans: Pick<PlanPublisher, 'raiseGeneration'>;
}

/** Before the link is served; returns how many sites there are. Once more than needed does no harm. */
export const beginAnew = ({ engine, orders, plans }: BeginAnewDependencies): Promise<number> =>
  engine.write(async (tx) => {
    const sites = await tx.db.selectFrom('sites').select('site_id').execute();
    for (const { site_id: site } of sites) {
      await orders.supplyAnew(tx, site);
      const plan = await tx.db
        .selectFrom('plans')
        .select('generation')
        .where('site_id', '=', site)
        .executeTakeFirst();
      if (plan !== undefined) await plans.raiseGeneration(tx, site, plan.generation);
    }
    return sites.length;
  });
