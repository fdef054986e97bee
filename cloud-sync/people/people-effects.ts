/** What the journal says of people at a site: told in the log, kept in the journal; nothing else follows from it. */
import type { EffectRegistry } from '../effects/effect-registry.js';

export interface PeopleEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly log: { warn(data: object, message: string): void };
}

export const registerPeopleEffects = ({ effects, log }: PeopleEffectsDependencies): void => {
  effects.register('audit', 'access_refused', async () => undefined);
  effects.register('audit', 'person_signed_in', async () => undefined);
  effects.register('audit', 'user_changed', async () => undefined);
  effects.register('audit', 'person_locked_out', async ({ tx, site }, entries) => {
    for (const { body } of entries) {
      tx.afterCommit(() => log.warn({ site, ...body }, 'somebody guesses passwords at a site'));
    }
    return undefined;
  });
};
