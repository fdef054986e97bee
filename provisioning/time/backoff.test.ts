import t from 'tap';
import { backoff } from './backoff.js';

t.test('bounds grow by the factor up to the most', async (t) => {
  const delays = [...backoff({ firstMs: 100, mostMs: 500, attempts: 5, entropy: () => 1 })];
  t.same(delays, [100, 200, 400, 500, 500]);
});

t.test('each delay is somewhere between nothing and its bound', async (t) => {
  const draws = [0, 0.5, 0.25];
  const entropy = () => draws.shift() ?? 0;
  t.same([...backoff({ firstMs: 100, mostMs: 1000, attempts: 3, entropy })], [0, 100, 100]);
});

t.test('goes on for ever unless attempts are counted', async (t) => {
  const delays = backoff({ firstMs: 1, mostMs: 10 });
  const drawn = Array.from({ length: 2_000 }, () => delays.next());
  t.ok(drawn.every(({ value, done }) => !done && value !== undefined && value >= 0 && value <= 10));
});
