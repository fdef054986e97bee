import t from 'tap';
import type { WriteTransaction } from '../store/sql-engine.js';
import { type EffectContext, EffectRegistry } from './effect-registry.js';

/** The registry hands it on and does nothing with it. */
const context = {
  tx: {} as WriteTransaction,
  site: 'a',
  log: 'l',
  isFenced: false,
  now: 1,
} satisfies EffectContext;
const entry = (seq: number, kind: string, body: unknown) => ({ seq, at: seq, kind, body });
const settled = (campaign: string) => ({ campaign });

t.test('hands entries of one kind over together, and keeps the order of the lane', async (t) => {
  const effects = new EffectRegistry();
  const seen: (string | number)[][] = [];
  effects.register('state', 'campaign_settled', async (_, entries) => {
    seen.push(['settled', ...entries.map(({ seq }) => seq)]);
    return undefined;
  });
  effects.register('state', 'compacted', async (_, entries) => {
    seen.push(['compacted', ...entries.map(({ seq }) => seq)]);
    return undefined;
  });
  const { problems } = await effects.apply(context, 'state', [
    entry(1, 'campaign_settled', settled('c')),
    entry(2, 'campaign_settled', settled('d')),
    entry(4, 'compacted', { from: 3, to: 4 }),
    entry(5, 'campaign_settled', settled('e')),
  ]);
  t.same(seen, [
    ['settled', 1, 2],
    ['compacted', 4],
    ['settled', 5],
  ]);
  t.same(problems, []);
});

t.test('says which entries had no effect, and applies the others', async (t) => {
  const effects = new EffectRegistry();
  effects.register('state', 'campaign_settled', async (_, entries) =>
    entries
      .filter(({ body }) => body.campaign === 'unheard of')
      .map(({ seq }) => ({ seq, problem: 'no such campaign' })),
  );
  const { problems } = await effects.apply(context, 'state', [
    entry(1, 'teleported', {}),
    entry(2, 'campaign_settled', { campaign: 5 }),
    entry(3, 'campaign_settled', settled('unheard of')),
    entry(4, 'campaign_settled', settled('c')),
    entry(5, '__proto__', {}),
  ]);
  t.match(problems, [
    { seq: 1, problem: 'unknown kind' },
    { seq: 2, problem: /^body: / },
    { seq: 3, problem: 'no such campaign' },
    { seq: 5, problem: 'unknown kind' },
  ]);
});

t.test('a kind has one effect, and one that throws fails the batch', async (t) => {
  const effects = new EffectRegistry();
  const failing = async () => {
    throw new Error('the disk is gone');
  };
  effects.register('state', 'compacted', failing);
  t.throws(() => effects.register('state', 'compacted', failing), TypeError);
  await t.rejects(
    effects.apply(context, 'state', [entry(1, 'compacted', { from: 1, to: 1 })]),
    /disk/,
  );
});
