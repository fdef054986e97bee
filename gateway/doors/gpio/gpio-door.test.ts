import { SimulatedGpio } from '@holdfast/devices/gpio/simulated-gpio';
import t, { type Test } from 'tap';
import type { GatewayGpioLine } from './gpio-configuration.js';
import { gpioModel } from './gpio-door.js';
import { openGpioDoor } from './open-gpio-door.js';
import { folderOf, openGpioSite } from './test-gpio-site.js';

const at = { chip: 'gpiochip0', activeLow: false, bias: 'as-is' } as const;
const heater: GatewayGpioLine = {
  ...at,
  ...{ name: 'heater', role: 'relay', line: 17, safe: 'off' },
  ...{ minOnS: 0, minOffS: 0, safeAfterS: 0.05 },
};
const contact: GatewayGpioLine = { ...at, name: 'contact', role: 'input', line: 4 };
const meter: GatewayGpioLine = { ...at, name: 'meter', role: 'counter', line: 5, everyS: 1 };

const begin = async (t: Test, lines: readonly GatewayGpioLine[]) =>
  openGpioSite(t, await folderOf(t), lines);

t.test(
  'relays are leaves of a device of the site, inputs are reported, both are told',
  async (t) => {
    const { devices, gpio, desire, reported, until, points, door } = await begin(t, [
      heater,
      contact,
    ]);
    await until(async () => (await reported())?.heater === false);
    t.match(devices.get('cabinet'), { door: 'gpio', model: gpioModel, firmwareVersion: '1.0.0' });
    t.not(devices.get('cabinet')?.session, null);
    await desire({ heater: true });
    await until(async () => (await reported())?.heater === true);
    t.equal(gpio.shown(heater), true);
    gpio.drive(contact, true);
    await until(async () => (await reported())?.contact === true);
    await until(async () => (await points()).length === 2);
    t.match(await points(), [
      { device: 'cabinet', series: 'contact', value: 0, seq: 1 },
      { series: 'contact', value: 1, seq: 2 },
    ]);
    t.match(door.states(), [
      { name: 'heater', role: 'relay', state: 'on', problem: null },
      { name: 'contact', role: 'input', state: 'on' },
    ]);
  },
);

t.test(
  'what was desired before a crash is applied again; at the end a relay is safe',
  async (t) => {
    const folder = await folderOf(t);
    const gpio = new SimulatedGpio();
    const first = await openGpioSite(t, folder, [heater], gpio);
    await first.desire({ heater: true });
    await first.until(() => gpio.shown(heater) === true);
    await first.close();
    t.same(gpio.sets.at(-1), ['gpiochip0 17', false]);
    gpio.sets.length = 0;
    const second = await openGpioSite(t, folder, [heater], gpio);
    await second.until(async () => (await second.reported())?.heater === true);
    t.same(
      gpio.sets.map(([, isOn]) => isOn),
      [false, true],
      'safe first, and then what the shadow says',
    );
  },
);

t.test('relays go safe at once when another gateway owns the site', async (t) => {
  const { gpio, fence, desire, until, door } = await begin(t, [heater]);
  await desire({ heater: true });
  await until(() => gpio.shown(heater) === true);
  await fence.raise('GATEWAY_FENCED', 'another gateway owns the site');
  await until(() => gpio.shown(heater) === false);
  t.match(door.states(), [{ state: 'off (safe: another gateway owns the site)' }]);
});

t.test(
  'relays go safe when nobody can switch them any more, and back when somebody can',
  async (t) => {
    const { gpio, refuseWrites, desire, until, door } = await begin(t, [heater, contact]);
    await desire({ heater: true });
    await until(() => gpio.shown(heater) === true);
    refuseWrites(new Error('the disk is full'));
    gpio.drive(contact, true);
    await until(() => gpio.shown(heater) === false);
    t.match(door.states(), [{ state: 'off (safe: no contact)' }, {}]);
    refuseWrites(undefined);
    await until(() => gpio.shown(heater) === true);
  },
);

t.test('relays go safe when the database hangs, and at the end nevertheless', async (t) => {
  const lasting: GatewayGpioLine = { ...heater, name: 'pump', line: 18, safeAfterS: 3_600 };
  const site = await openGpioSite(
    ...([t, await folderOf(t), [heater, lasting, contact], new SimulatedGpio()] as const),
    { lookEveryMs: 50 },
  );
  const { gpio, hangWrites, desire, until, door, close } = site;
  await desire({ heater: true, pump: true });
  await until(() => gpio.shown(heater) === true && gpio.shown(lasting) === true);
  const release = hangWrites();
  t.teardown(release);
  gpio.drive(contact, true);
  await until(() => gpio.shown(heater) === false);
  t.match(door.states(), [{ state: 'off (safe: no contact)' }, { state: 'on' }]);
  const closing = close();
  await gpio.until(() => gpio.shown(lasting) === undefined);
  t.same(gpio.sets.at(-1), ['gpiochip0 18', false]);
  release();
  await closing;
});

t.test('relays of a device out of service are safe until it is enabled', async (t) => {
  const { gpio, lifecycles, desire, until, door } = await begin(t, [heater]);
  await desire({ heater: true });
  await until(() => gpio.shown(heater) === true);
  lifecycles.onUnserved(({ device, error }) => door.refuse(device, error));
  await lifecycles.decide('cabinet', { action: 'disable', reason: '', actor: 'site:anna' });
  await until(() => gpio.shown(heater) === false);
  await lifecycles.decide('cabinet', { action: 'enable', reason: '', actor: 'site:anna' });
  await until(() => gpio.shown(heater) === true);
  t.match(door.states(), [{ state: 'on' }]);
});

t.test('totals of a counter survive a restart', async (t) => {
  const folder = await folderOf(t);
  const gpio = new SimulatedGpio();
  const first = await openGpioSite(t, folder, [meter], gpio);
  await gpio.until(() => gpio.isWatched(meter));
  gpio.drive(meter, true, false, true, false, true);
  await first.close();
  const second = await openGpioSite(t, folder, [meter], gpio);
  await gpio.until(() => gpio.isWatched(meter));
  gpio.drive(meter, false, true);
  await second.until(async () => (await second.points()).some(({ value }) => value === 4));
  t.match(await second.points(), [
    { series: 'meter', value: 3 },
    { series: 'meter', value: 4 },
  ]);
});

t.test('lines take no commands, and say so', async (t) => {
  const { door, answered } = await begin(t, [heater]);
  await door.sendCommand('pump-1', 'c1');
  await door.sendCommand('cabinet', 'c2');
  t.same(answered, ['c2 rejected']);
});

t.test('says in the configuration what is missing', async (t) => {
  const open = (lines: readonly GatewayGpioLine[], device?: string) =>
    openGpioDoor({} as Parameters<typeof openGpioDoor>[0], { device, lines, version: '1' });
  const code = 'CONFIGURATION_INVALID';
  t.throws(() => open([heater]), { code, message: /gpio.device/ });
  t.throws(() => open([{ ...heater, restarts: 'machine' }], 'x'), { code, message: /restarts/ });
  const led: GatewayGpioLine = { ...at, name: 'front', role: 'status-led', line: 1 };
  t.equal(open([led]), undefined, 'the front of the box is no device');
});
