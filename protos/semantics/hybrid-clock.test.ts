import t from 'tap';
import { compareTimes, laterOf, mintTime, zeroTime } from './hybrid-clock.js';

const trusted = (now: number) => ({ now, trusted: true });
const untrusted = (now: number) => ({ now, trusted: false });
const none = { seen: zeroTime, overwritten: zeroTime };

t.test('a trusted clock gives the wall time', async (t) => {
  t.same(mintTime(none, trusted(1_000)), { wall: 1_000, counter: 0 });
});

t.test('counts on where the clock stands still or runs back', async (t) => {
  const seen = { wall: 1_000, counter: 4 };
  t.same(mintTime({ ...none, seen }, trusted(1_000)), { wall: 1_000, counter: 5 });
  t.same(mintTime({ ...none, seen }, trusted(10)), { wall: 1_000, counter: 5 });
});

t.test('an untrusted clock adds no wall time', async (t) => {
  const seen = { wall: 1_000, counter: 4 };
  t.same(mintTime({ ...none, seen }, untrusted(9e15)), { wall: 1_000, counter: 5 });
  t.same(mintTime(none, untrusted(9e15)), { wall: 0, counter: 1 });
});

t.test('a peer’s clock in the future leads only where its write is overwritten', async (t) => {
  const far = { wall: 1_000_001, counter: 7 };
  t.same(
    mintTime({ seen: far, overwritten: zeroTime }, trusted(1), 1_000_000),
    {
      wall: 1_000_001,
      counter: 8,
    },
    'within the bound it leads',
  );
  t.same(mintTime({ seen: far, overwritten: zeroTime }, trusted(1), 999_999), {
    wall: 1,
    counter: 0,
  });
  t.same(mintTime({ seen: far, overwritten: far }, trusted(1), 999_999), {
    wall: 1_000_001,
    counter: 8,
  });
});

t.test('orders by wall, then counter', async (t) => {
  t.ok(compareTimes({ wall: 1, counter: 9 }, { wall: 2, counter: 0 }) < 0);
  t.ok(compareTimes({ wall: 1, counter: 9 }, { wall: 1, counter: 10 }) < 0);
  t.same(laterOf({ wall: 1, counter: 9 }, zeroTime), { wall: 1, counter: 9 });
});
