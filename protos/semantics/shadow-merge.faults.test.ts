import t from 'tap';
import { checkMergeLaws } from './shadow-merge-laws.js';

t.test('keeps the laws of the merge over 10,000 runs of three replicas', async (t) => {
  const seed = Date.now() % 2_147_483_647;
  t.comment(`seed ${seed}`);
  checkMergeLaws(10_000, seed);
});
