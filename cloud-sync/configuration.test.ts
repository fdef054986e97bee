import { readFileSync } from 'node:fs';
import { configurationReference } from '@holdfast/provisioning/program/reference';
import t from 'tap';
import { cloudConfiguration } from './configuration.js';

t.test('the configuration page says what the schema says', async (t) => {
  const page = readFileSync(new URL('../CONFIGURATION.md', import.meta.url), 'utf8');
  t.equal(page, configurationReference(cloudConfiguration, 'holdfast-cloud'));
});
