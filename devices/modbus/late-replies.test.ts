import t from 'tap';
import { LateReplies } from './late-replies.js';
import type { ReadBlock } from './read-block.js';

const read = (count: number, kind: ReadBlock['kind'] = 'holding') => ({ kind, address: 5, count });
const block = (count: number): ReadBlock => ({ ...read(count), pollMs: 1_000, registers: [] });

t.test('what has the same length could be the missing answer, until another came', async (t) => {
  const late = new LateReplies({ forgetAfterMs: 10_000 });
  t.ok(late.isSettled(0));
  late.missed(read(2), 0);
  t.ok(late.isConfusable(read(2), 1));
  t.notOk(late.isConfusable(read(3), 1));
  t.notOk(late.isConfusable(read(2, 'input'), 1));
  late.answered(read(2), false);
  t.notOk(late.isSettled(1), 'it may have been the late one');
  late.answered(read(3), true);
  t.notOk(late.isSettled(1), 'exceptions to one function look alike');
  late.answered(read(3), false);
  t.ok(late.isSettled(1));
});

t.test('asks something else to find out: other lengths, then other functions', async (t) => {
  const late = new LateReplies({ forgetAfterMs: 10_000 });
  late.missed(read(4), 0);
  t.match(late.settling([block(4)], 1), { kind: 'holding', count: 1 });
  late.missed(read(1), 1);
  const other = late.settling([block(4)], 2);
  t.match(other, { kind: 'coil', address: 5, count: 1 });
  if (other !== null) late.answered(other, true);
  t.ok(late.isSettled(2), 'a no to another function is an answer too');
});

t.test('where everything is missing, only time helps', async (t) => {
  const late = new LateReplies({ forgetAfterMs: 10_000 });
  for (const kind of ['coil', 'discrete', 'holding', 'input'] as const)
    late.missed(read(1, kind), 7);
  t.equal(late.settling([block(1)], 8), null);
  t.equal(late.settlesAt, 10_007);
  t.notOk(late.isSettled(10_006));
  t.ok(late.isSettled(10_007));
});
