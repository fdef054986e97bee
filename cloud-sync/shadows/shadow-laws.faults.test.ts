import t from 'tap';
import { checkCloudLaws } from './shadow-laws.js';

t.test(
  'what the control plane decides keeps the laws of a shadow between its two ends',
  async (t) => {
    const seed = Date.now() % 2_147_483_647;
    t.comment(`seed ${seed}`);
    checkCloudLaws(10_000, seed);
  },
);
