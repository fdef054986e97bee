/** The counters of a campaign: in all, of each phase, and of each phase at each site. They move together, in the transaction of the cause. */
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import {
  type Counted,
  type Counter,
  type CounterChanges,
  changesByPhase,
  noCounts,
} from './progress.js';

/** What executions of one campaign at one site change, summed up until it is written. */
export class CountedChanges {
  readonly #byPhase = new Map<number, Record<string, number>>();

  /** One execution went from one standing (undefined: it is new) to another. */
  add(from: Counted | undefined, to: Counted): void {
    for (const [phase, changes] of changesByPhase(from, to)) {
      const sum = this.#byPhase.get(phase) ?? {};
      this.#byPhase.set(phase, sum);
      for (const [counter, change] of Object.entries(changes)) {
        sum[counter] = (sum[counter] ?? 0) + change;
      }
    }
  }

  async write(
    db: Kysely<Schema>,
    { campaign, site }: { readonly campaign: string; readonly site: string },
  ): Promise<void> {
    const all: Record<string, number> = {};
    for (const [phase, changes] of this.#byPhase) {
      const moved = movedOf(changes);
      if (moved.length === 0) continue;
      for (const [counter, change] of moved) all[counter] = (all[counter] ?? 0) + change;
      const key = { campaign_id: campaign, site_id: site, phase };
      await db
        .insertInto('campaign_counts')
        .values({ ...noCounts, ...key })
        .onConflict((c) => c.columns(['campaign_id', 'site_id', 'phase']).doNothing())
        .execute();
      await db
        .updateTable('campaign_counts')
        .set((eb) => additions(moved, (counter, change) => eb(eb.ref(counter), '+', change)))
        .where('campaign_id', '=', campaign)
        .where('site_id', '=', site)
        .where('phase', '=', phase)
        .execute();
      await db
        .updateTable('campaign_phases')
        .set((eb) => additions(moved, (counter, change) => eb(eb.ref(counter), '+', change)))
        .where('campaign_id', '=', campaign)
        .where('phase', '=', phase)
        .execute();
    }
    const moved = movedOf(all);
    if (moved.length === 0) return;
    await db
      .updateTable('campaigns')
      .set((eb) => additions(moved, (counter, change) => eb(eb.ref(counter), '+', change)))
      .where('campaign_id', '=', campaign)
      .execute();
  }
}

type Column = Counter | 'total';

// Only `changesByPhase` makes these names; every one is a column of the counters.
const movedOf = (changes: CounterChanges): [Column, number][] =>
  (Object.entries(changes) as [Column, number][]).filter(([, change]) => change !== 0);

const additions = <T>(
  moved: readonly [Column, number][],
  plus: (counter: Column, change: number) => T,
): Record<string, T> =>
  Object.fromEntries(moved.map(([counter, change]) => [counter, plus(counter, change)]));
