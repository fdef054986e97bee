import { readFileSync } from 'node:fs';
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import { configurationReference } from '@holdfast/provisioning/program/reference';
import t from 'tap';
import { gatewayConfiguration } from './configuration.js';
import { siteSchemaPath, siteSchemaText } from './site-file/site-schema.js';

t.test('the configuration page says what the schema says', async (t) => {
  const page = readFileSync(new URL('../CONFIGURATION.md', import.meta.url), 'utf8');
  const stale = 'run: npm run generate -w @holdfast/gateway';
  t.equal(page, configurationReference(gatewayConfiguration, 'holdfast-gateway'), stale);
});

t.test('the published schema of a site file is that of the configuration', async (t) => {
  const published = readFileSync(siteSchemaPath, 'utf8');
  t.equal(published, siteSchemaText(), 'run: npm run generate -w @holdfast/gateway');
  const { properties } = JSON.parse(published);
  t.match(properties.listen.properties.httpsPort, {
    type: 'integer',
    maximum: 65_535,
    default: 8443,
    description: 'HTTPS for devices: enrolment, firmware',
  });
  t.match(properties.telemetry.properties.budgetBytes, { description: /\(bytes\)$/ });
  t.equal(properties.listen.additionalProperties, false);
  t.match(properties.serial.properties.lines.items.properties, {
    baudRate: { type: 'integer', minimum: 50 },
    flash: { required: ['protocol', 'part', 'reset'] },
  });
  t.notMatch(published, /"setting"/);
});

t.test('what breaks a rule of a whole section is told by the rule alone', async (t) => {
  const read = (line: string) => () =>
    readConfiguration(gatewayConfiguration, {
      name: 'site.yaml',
      text: `serial: { lines: [{ device: pump-1, ${line} }] }`,
    });
  t.throws(read('baudRate: 9600'), {
    code: 'CONFIGURATION_INVALID',
    message: /serial\.lines\[0\]: must have either path or usb$/,
  });
  t.throws(read('path: /dev/a, flash: { protocol: stk500v1, part: m328p, reset: dtr }'), {
    message: /\.flash: No part is called "m328p": do you mean "atmega328p"\?$/,
  });
});
