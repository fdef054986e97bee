import t from 'tap';
import { ByteBudget } from './byte-budget.js';

/** A budget on a clock that waits move. */
const budgetOf = (rate: number | null) => {
  const state = { now: 0, rate, waits: 0 };
  const budget = new ByteBudget(
    {
      monotonic: () => state.now,
      wait: async (ms, signal) => {
        signal?.throwIfAborted();
        state.waits += 1;
        state.now += ms;
      },
    },
    { bytesPerS: () => state.rate },
  );
  return { state, budget };
};

t.test('lets through what the rate allows, in pieces of any size', async (t) => {
  const { state, budget } = budgetOf(1_000);
  for (let sent = 0; sent < 100_000; sent += 250) await budget.take(250);
  t.equal(state.now, 100_000);
  await budget.take(50_000);
  t.equal(state.now, 150_000);
});

t.test('catches up on a second of what was not used, and on no more', async (t) => {
  const { state, budget } = budgetOf(1_000);
  state.now = 3_600_000;
  await budget.take(1_000);
  t.equal(state.now, 3_600_000);
  await budget.take(500);
  t.equal(state.now, 3_600_500);
});

t.test('those who share it have it together', async (t) => {
  const { state, budget } = budgetOf(1_000);
  const transfer = async () => {
    for (let sent = 0; sent < 10_000; sent += 100) await budget.take(100);
  };
  await Promise.all([transfer(), transfer()]);
  t.ok(state.now >= 10_000, `${state.now}`);
});

t.test('a rate that is changed holds from then on, also for who waits', async (t) => {
  const { state, budget } = budgetOf(1);
  const slow = budget.take(1_000_000);
  state.rate = null;
  await slow;
  t.ok(state.now <= 1_000, `${state.now}`);
  await budget.take(1_000_000);
  t.ok(state.now <= 1_000, 'without a rate nothing waits');
  state.rate = 1_000;
  await budget.take(1_000);
  t.ok(state.now >= 1_000, 'and nothing of before is owed');
});

t.test('ends with its signal', async (t) => {
  const { budget } = budgetOf(1);
  await t.rejects(budget.take(10, AbortSignal.abort(new Error('enough'))), { message: 'enough' });
});
