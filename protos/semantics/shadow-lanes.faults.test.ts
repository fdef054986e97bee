import t from 'tap';
import { modelCloud, modelSite } from './shadow-end-model.js';
import { checkLaneLaws } from './shadow-lanes-laws.js';

t.test('keeps the laws of the lanes over 10,000 runs', async (t) => {
  const seed = Date.now() % 2_147_483_647;
  t.comment(`seed ${seed}`);
  checkLaneLaws(modelCloud, modelSite, { numRuns: 10_000, seed });
});
