import t from 'tap';
import { checkSiteLaws } from './shadow-laws.js';

t.test('what the site decides keeps the laws of a shadow between its two ends', async (t) => {
  const { HOLDFAST_FAULTS_SEED, HOLDFAST_FAULTS_SLICE } = process.env;
  const seed = Number(HOLDFAST_FAULTS_SEED ?? Date.now() % 2_147_483_647);
  const runs = HOLDFAST_FAULTS_SLICE === '1' ? 2_000 : 10_000;
  t.comment(`seed ${seed}`);
  checkSiteLaws(runs, seed);
});
