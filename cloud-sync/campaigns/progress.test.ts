import { executionStatuses } from '@holdfast/protos/link/execution-status';
import t from 'tap';
import { changesOf, counterOf, counters } from './progress.js';

t.test('keeps the sum of the counters at the total, whatever the statuses', async (t) => {
  for (const first of executionStatuses) {
    for (const second of executionStatuses) {
      const sum = { total: 0, ...Object.fromEntries(counters.map((name) => [name, 0])) };
      const apply = (changes: object): void => {
        for (const [name, change] of Object.entries(changes)) {
          sum[name as keyof typeof sum] += change;
        }
      };
      apply(changesOf(undefined, first));
      apply(changesOf(first, second));
      const { total, ...counted } = sum;
      t.equal(total, 1);
      t.same(
        Object.entries(counted).filter(([, count]) => count !== 0),
        [[counterOf(second), 1]],
        `${first} → ${second}`,
      );
    }
  }
});
