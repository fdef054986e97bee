import t from 'tap';
import { faultPlan } from './fault-plan.js';

const letters = [...'abcdefghij'];
const slice = { HOLDFAST_FAULTS_SLICE: '1', HOLDFAST_FAULTS_SEED: '7' };

t.test('a slice is some of the points, the same for the same seed', async (t) => {
  const picked = faultPlan(slice).pick(letters, 4);
  t.equal(new Set(picked).size, 4);
  t.same(faultPlan(slice).pick(letters, 4), picked);
  t.not(
    faultPlan({ ...slice, HOLDFAST_FAULTS_SEED: '8' })
      .pick(letters, 4)
      .join(''),
    picked.join(''),
  );
  const ordinals = [...faultPlan(slice).ordinals({ upTo: 100, count: 5 })];
  t.equal(new Set(ordinals).size, 5);
  t.same(
    [...ordinals].sort((a, b) => a - b),
    ordinals,
  );
  t.ok(ordinals.every((at) => at >= 1 && at <= 100));
});

t.test('without one it is every point, and counting does not end', async (t) => {
  const plan = faultPlan({});
  t.same([...plan.pick(letters, 4)].sort(), letters);
  const first: number[] = [];
  for (const at of plan.ordinals({ upTo: 3, count: 1 })) if (first.push(at) === 5) break;
  t.same(first, [1, 2, 3, 4, 5]);
});
