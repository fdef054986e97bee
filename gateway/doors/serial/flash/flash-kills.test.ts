import t from 'tap';
import { type KillPoint, killAt, nameOf } from './test-kill-flash.js';

/** A slice of what the faults try at every point. */
const points: readonly KillPoint[] = [
  { commit: 10, when: 'before' },
  { commit: 13, when: 'after' },
  { commit: 17, when: 'after' },
  { page: 1, what: 'gateway' },
  { page: 6, what: 'both' },
];

for (const point of points) {
  t.test(`a flash gets there over a cut: ${nameOf(point)}`, async (t) => {
    t.match(await killAt(t, point), { wasReached: true, attempt: 1, holds: '2.0.0' });
  });
}
