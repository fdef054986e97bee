import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import t from 'tap';
import { gatewayConfiguration } from '../configuration.js';
import { checkWires } from './check-wires.js';
import { openWires, type WiresDeps } from './open-wires.js';

const configurationOf = (text: string) =>
  readConfiguration(gatewayConfiguration, { name: 'site.yaml', text });
const check = (text: string): void => checkWires(configurationOf(text));

const line = (more: string) => `{device: pump-1, path: /dev/ttyUSB0${more}}`;
const bus = '{name: bus-1, path: /dev/ttyUSB1, units: [{device: meter-1, unit: 1, map: sdm}]}';
const map =
  '{name: sdm, model: SDM120, registers: [{name: volts, kind: input, address: 0, type: float32}]}';
const gpio = (lines: string) => `gpio: {device: cabinet, lines: [${lines}]}\n`;
const relay = '{name: heater, role: relay, chip: gpiochip0, line: 17, safe: off}';
const reset = '{name: reset-1, role: reset, chip: gpiochip0, line: 4}';
const flashed = line(
  ', flash: {protocol: stk500v1, part: atmega328p, reset: gpio, resetLine: reset-1}',
);

t.test('takes what can stand together', async (t) => {
  t.doesNotThrow(() => check(''));
  t.doesNotThrow(() =>
    check(
      `serial: {lines: [${flashed}]}\nmodbus: {maps: [${map}], buses: [${bus}]}\n${gpio(`${relay}, ${reset}`)}`,
    ),
  );
});

t.test('takes a name for its own lines that there are none of', async (t) => {
  t.doesNotThrow(() => check(`serial: {lines: [${line('')}]}\ngpio: {device: pump-1}\n`));
});

t.test('a gateway refuses it before anything else', async (t) => {
  const text = `serial: {lines: [${line('')}]}\ngpio: {device: pump-1, lines: [${relay}]}\n`;
  // So nothing of what it is given is touched.
  const nothing = {} as WiresDeps;
  const options = { configuration: configurationOf(text), folder: '/', version: '1' };
  await t.rejects(openWires(nothing, options), {
    code: 'CONFIGURATION_INVALID',
    message: /device pump-1 is named twice/,
  });
});

t.test('refuses what cannot, and says what it is', async (t) => {
  const refused: [why: RegExp, text: string][] = [
    [
      /device pump-1 is named twice/,
      `serial: {lines: [${line('')}, {device: pump-1, path: /dev/b}]}`,
    ],
    [
      /port \/dev\/ttyUSB0 is named twice/,
      `serial: {lines: [${line('')}, {device: b, path: /dev/ttyUSB0}]}`,
    ],
    [
      /line bus-1 is named twice/,
      `serial: {lines: [${line(', name: bus-1')}]}\nmodbus: {maps: [${map}], buses: [${bus}]}`,
    ],
    [/wants the map sdm; there are none/, `modbus: {buses: [${bus}]}`],
    [/no line 'reset-1' with the role reset/, `serial: {lines: [${flashed}]}`],
    [
      /gpiochip0 17 is named twice|gpiochip0.*17.*twice/,
      gpio(`${relay}, {name: fan, role: relay, chip: gpiochip0, line: 17, safe: off}`),
    ],
    [
      /device pump-1 is named twice/,
      `serial: {lines: [${line('')}]}\ngpio: {device: pump-1, lines: [${relay}]}\n`,
    ],
    [/gpio\.device: say which device/, `gpio: {lines: [${relay}]}`],
  ];
  for (const [message, text] of refused) {
    t.throws(() => check(text), { code: 'CONFIGURATION_INVALID', message });
  }
});
