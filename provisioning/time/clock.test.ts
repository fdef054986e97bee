import t from 'tap';
import { systemClock } from './clock.js';

t.test('is trusted only above its floor', async (t) => {
  t.equal(systemClock().trusted, true);
  t.equal(systemClock({ floorMs: Date.now() + 86_400_000 }).trusted, false);
});

t.test('monotonic time does not run back', async (t) => {
  const clock = systemClock();
  const first = clock.monotonic();
  t.ok(clock.monotonic() >= first);
});
