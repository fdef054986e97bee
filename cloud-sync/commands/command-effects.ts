/** What becomes of commands: what the sites say, and the end of those that ran out before they could be sent. */
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { EffectRegistry } from '../effects/effect-registry.js';
import type { Orders } from '../link/orders.js';

export interface CommandEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly orders: Orders;
}

export const registerCommandEffects = ({ effects, orders }: CommandEffectsDependencies): void => {
  orders.onExpired(async (tx, site, commands) => {
    for (const { device, command } of commands) {
      await tx.db
        .updateTable('commands')
        .set({ state: 'expired' })
        .where('site_id', '=', site)
        .where('device_id', '=', device)
        .where('command_id', '=', command)
        .where('state', '=', 'pending')
        .execute();
    }
  });
  effects.register('state', 'command', async ({ tx, site }, entries) => {
    for (const { at, body } of entries) {
      const isAnswer = body.state === 'succeeded' || body.state === 'failed';
      await tx.db
        .updateTable('commands')
        .set({
          state: body.state,
          response: body.response === null ? null : canonicalJson(body.response),
          error: body.error,
          responded_at: isAnswer ? at : null,
        })
        .where('site_id', '=', site)
        .where('device_id', '=', body.device)
        .where('command_id', '=', body.command)
        // Nothing leads out of an outcome, also when a log is sent again. Commands that were given on site have no row here.
        .where('state', 'in', ['pending', 'delivered'])
        .execute();
    }
    return undefined;
  });
};
