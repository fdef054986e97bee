import { loadConfiguration } from '@holdfast/provisioning/program/configuration';
import t from 'tap';
import { deviceConfiguration } from '../configuration.js';
import { attachedOf } from './attached-configuration.js';

const attached = async (...args: string[]) => {
  const loaded = await loadConfiguration(deviceConfiguration, {
    program: 'holdfast-device',
    argv: args,
    env: {},
  });
  return attachedOf(loaded.configuration.attached);
};

t.test('names a port, and how what stands there is flashed', async (t) => {
  t.equal(await attached(), null);
  t.same(await attached('--attached.path', '/dev/ttyUSB0'), {
    address: { path: '/dev/ttyUSB0' },
    baudRate: 115_200,
    driver: 'json-lines',
  });
  const flash = { protocol: 'stk500v1', part: 'atmega328p', reset: 'dtr' };
  t.match(
    await attached('--attached.usb', '2341:0043', '--attached.flash', JSON.stringify(flash)),
    { address: { usb: '2341:0043' }, flash },
  );
});

t.test('refuses what would strand a board, or names nothing', async (t) => {
  const refused = { code: 'CONFIGURATION_INVALID' };
  const flash = (given: object) => ['--attached.flash', JSON.stringify(given)];
  const stk = { protocol: 'stk500v1', part: 'atmega328p' };
  const path = ['--attached.path', '/dev/ttyUSB0'];
  await t.rejects(attached(...path, '--attached.usb', '2341:0043'), refused);
  await t.rejects(attached('--attached.usb', 'the left one'), refused);
  await t.rejects(attached(...flash({ ...stk, reset: 'dtr' })), refused);
  await t.rejects(attached(...path, ...flash({ ...stk, reset: 'command' })), refused);
  await t.rejects(attached(...path, ...flash({ ...stk, part: 'z80', reset: 'dtr' })), refused);
  await t.rejects(attached(...path, '--attached.driver', 'modbus'), refused);
});
