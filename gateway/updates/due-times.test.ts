import t from 'tap';
import { DueTimes } from './due-times.js';

const due = (at: number, device = 'a') => ({ at, campaign: 'c', device });

t.test('gives what is due in its order, the earliest of each execution', async (t) => {
  const times = new DueTimes();
  for (const one of [due(30, 'b'), due(20), due(10), due(15), due(5, 'd')]) times.add(one);
  t.equal(times.nextAt, 5);
  t.same([...times.take(12)], [due(5, 'd'), due(10)]);
  times.add(due(40));
  t.same([...times.take(50)], [due(30, 'b'), due(40)]);
  t.equal(times.nextAt, undefined);
});

t.test('does not grow by an execution that changes all the time', async (t) => {
  const times = new DueTimes();
  for (let at = 0; at < 10_000; at += 1) times.add(due(1_000 + at));
  t.equal(times.size, 1);
});
