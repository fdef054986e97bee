import t from 'tap';
import { modelCloud, modelSite } from './shadow-end-model.js';
import { checkLaneLaws } from './shadow-lanes-laws.js';

t.test(
  'two ends agree and lose nothing, though deletions are forgotten and the site begins anew',
  async (t) => {
    const seed = Date.now() % 2_147_483_647;
    t.comment(`seed ${seed}`);
    checkLaneLaws(modelCloud, modelSite, { numRuns: 500, seed });
  },
);
