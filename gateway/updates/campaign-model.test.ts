import t from 'tap';
import { checkCampaignModel } from './model-commands.js';

t.test('keeps the laws of campaigns, whatever happens to three sites', async (t) => {
  await checkCampaignModel(t, { numRuns: 4, seed: 1, length: 60 });
  t.pass();
});
