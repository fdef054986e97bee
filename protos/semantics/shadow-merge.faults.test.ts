import t from 'tap';
import { checkMergeLaws } from './shadow-merge-laws.js';

t.test('keeps the laws of the merge over many runs of three replicas', async (t) => {
  const { HOLDFAST_FAULTS_SEED, HOLDFAST_FAULTS_SLICE } = process.env;
  const seed = Number(HOLDFAST_FAULTS_SEED ?? Date.now() % 2_147_483_647);
  const runs = HOLDFAST_FAULTS_SLICE === '1' ? 2_000 : 10_000;
  t.comment(`seed ${seed}`);
  checkMergeLaws(runs, seed);
});
