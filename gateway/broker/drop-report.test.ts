import t from 'tap';
import type { DropEvent } from './broker.js';
import { DropReport } from './drop-report.js';

t.test('tells the first drop at once and those after it together', async (t) => {
  const told: DropEvent[] = [];
  const report = new DropReport((event) => told.push(event));
  const drop = { clientId: 'slow', count: 1, bytes: 10, reason: 'QUEUE_FULL' } as const;
  report.add(drop);
  t.same(told, [drop]);
  report.add(drop);
  report.add({ ...drop, count: 2, bytes: 20 });
  report.add({ ...drop, clientId: 'other' });
  t.equal(told.length, 2);
  report.flush();
  t.same(told.slice(2), [{ ...drop, count: 3, bytes: 30 }]);
  report.flush();
  t.equal(told.length, 3);
});
