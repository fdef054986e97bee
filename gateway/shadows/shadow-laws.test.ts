import t from 'tap';
import { checkSiteLaws } from './shadow-laws.js';

t.test('what the site decides keeps the laws of a shadow between its two ends', async (t) => {
  const seed = Date.now() % 2_147_483_647;
  t.comment(`seed ${seed}`);
  checkSiteLaws(500, seed);
});
