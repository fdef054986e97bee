import t from 'tap';
import { ManualClock } from './manual-clock.js';
import { aborted, wait } from './wait.js';

for (const [name, make] of [
  ['wait', () => wait],
  ['a manual clock', () => new ManualClock().wait],
] as const) {
  t.test(`${name}: an abort ends it at once, with the signal's reason`, async (t) => {
    const controller = new AbortController();
    const waiting = make()(60_000, controller.signal);
    controller.abort(new Error('enough'));
    await t.rejects(waiting, { message: 'enough' });
    await t.rejects(make()(60_000, controller.signal), { message: 'enough' });
  });
}

t.test('resolves when the time is over', async (t) => {
  await wait(1);
  await wait(-5);
  t.pass();
});

t.test('aborted resolves at the abort, also at one that was before', async () => {
  const controller = new AbortController();
  const before = aborted(controller.signal);
  controller.abort();
  await before;
  await aborted(controller.signal);
});

t.test(
  'a manual clock wakes in order those whose time has come, and nobody when wall time is set',
  async (t) => {
    const clock = new ManualClock(1_000);
    const woken: string[] = [];
    const late = clock.wait(30).then(() => woken.push('late'));
    const early = clock.wait(10).then(() => woken.push('early'));
    const never = clock.wait(1_000);
    never.catch(() => undefined);
    clock.set(9_000_000);
    t.equal(clock.waiting, 3);
    clock.advance(30);
    await Promise.all([early, late]);
    t.same(woken, ['early', 'late']);
    t.equal(clock.waiting, 1);
    t.equal(clock.now(), 9_000_030);
    t.equal(clock.monotonic(), 30);
  },
);
