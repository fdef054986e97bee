/** What the journal says of a site's clock. Points keep the stamp that they came with: what it means is looked up when they are read. */
import type { EffectRegistry } from './effect-registry.js';

export interface ClockEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly log: { warn(data: object, message: string): void };
}

export const registerClockEffects = ({ effects, log }: ClockEffectsDependencies): void => {
  effects.register('audit', 'clock', async ({ tx, site, now }, entries) => {
    for (const { body } of entries) {
      const known = { clock_offset: body.offset, source: body.source, updated_at: now };
      await tx.db
        .insertInto('site_clocks')
        .values({ site_id: site, boot: body.boot, ...known })
        .onConflict((c) => c.columns(['site_id', 'boot']).doUpdateSet(known))
        .execute();
    }
    return undefined;
  });
  effects.register('audit', 'clock_doubted', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'a site did not believe its clock'));
    }
    return undefined;
  });
  effects.register('audit', 'clock_set', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'somebody at a site set its clock'));
    }
    return undefined;
  });
};
