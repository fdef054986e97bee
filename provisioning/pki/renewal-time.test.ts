import t from 'tap';
import { alarmAt, renewalAt } from './renewal-time.js';

const dayMs = 86_400_000;
const week = { notBefore: 0, notAfter: 7 * dayMs };

t.test('renewals of certificates issued together are spread around their half-life', async (t) => {
  const times = Array.from({ length: 500 }, (_, i) => renewalAt({ ...week, serial: `4${i}` }));
  t.equal(renewalAt({ ...week, serial: '40' }), times[0], 'each always at the same moment');
  const [first, last] = [Math.min(...times), Math.max(...times)];
  t.ok(first >= 3.15 * dayMs && last <= 3.85 * dayMs);
  t.ok(last - first > 0.6 * dayMs);
  const hours = new Map<number, number>();
  for (const time of times) {
    const hour = Math.floor(time / 3_600_000);
    hours.set(hour, (hours.get(hour) ?? 0) + 1);
  }
  t.ok(Math.max(...hours.values()) < 500 / 8, 'no hour has many more than its share');
});

t.test('a renewal has a sixth of the life before anybody is alarmed', async (t) => {
  t.equal(alarmAt(week), Math.round((14 / 3) * dayMs));
});
