import { readFile } from 'node:fs/promises';
import { serveSimulatedUnits } from '@holdfast/devices/modbus/simulated-tcp-unit';
import { SimulatedUnit } from '@holdfast/devices/modbus/simulated-unit';
import { PortPair } from '@holdfast/devices/serial/port/port-pair';
import { SerialLine } from '@holdfast/devices/serial/port/serial-line';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import { parseConfigurationFile } from '@holdfast/provisioning/program/configuration-file';
import { freePort } from '@holdfast/provisioning/program/free-port';
import t, { type Test } from 'tap';
import * as v from 'valibot';
import { findRoute, type RouteRequest } from '../local/routes.js';
import { folderOf, openSerialSite, type SerialSite } from '../serial/test-serial-site.js';
import { modbusSection } from './modbus-configuration.js';
import { type ModbusLines, modbusLines } from './modbus-lines.js';
import { modbusRoutes } from './modbus-routes.js';

const maps = [
  {
    name: 'heat-pump',
    model: 'HP-7',
    registers: [
      { name: 'flow', kind: 'input', address: 0, type: 'float32', pollS: 0.1, unit: '°C' },
      {
        ...{ name: 'setpoint', kind: 'holding', address: 10, type: 'int16', scale: 0.5 },
        ...{ pollS: 0.1, writable: true, minimum: 20, maximum: 60 },
      },
    ],
  },
];

const meter = 'heat-pump-1';
const key = { device: meter, name: classicShadow };

const simulated = async (t: Test, framing: 'tcp' | 'rtu') => {
  const unit = new SimulatedUnit({ unit: 3 });
  unit.input.set([0x4203, 0x3333]);
  unit.holding[10] = 70;
  const server = await serveSimulatedUnits([unit], { framing, port: await freePort() });
  t.teardown(() => server.close());
  return { unit, server };
};

const open = async (t: Test, port: number, framing: 'tcp' | 'rtu' = 'tcp') => {
  const configuration = v.parse(modbusSection, {
    maps,
    buses: [
      {
        ...{ name: 'cellar', tcp: `127.0.0.1:${port}`, framing, timeoutMs: 1_000 },
        units: [{ device: meter, unit: 3, map: 'heat-pump' }],
      },
    ],
  });
  const modbus = modbusLines(configuration);
  return { modbus, site: await openSerialSite(t, await folderOf(t), [], { wired: modbus.wired }) };
};

const online = (site: SerialSite, isOnline = true) =>
  site.until(() => ((site.devices.get(meter)?.session ?? null) !== null) === isOnline || undefined);

const reported = (site: SerialSite, leaf: string, value: unknown) =>
  site.until(async () => {
    const view = await site.shadows.get(key);
    const found = view?.state.reported?.[leaf];
    return JSON.stringify(found) === JSON.stringify(value) ? view : undefined;
  });

for (const framing of ['tcp', 'rtu'] as const) {
  t.test(`a unit is a device of the site, by ${framing} through TCP`, async (t) => {
    const { unit, server } = await simulated(t, framing);
    const { site } = await open(t, server.port, framing);
    await online(site);
    t.match(site.devices.get(meter), { door: 'modbus', model: 'HP-7', certificateSerial: null });
    await reported(site, 'setpoint', 35);
    const points = await site.until(async () => {
      const all = await site.points();
      return all.length >= 2 ? all : undefined;
    });
    t.match(points.map(({ device, series, value }) => [device, series, value]).sort(), [
      [meter, 'flow', 32.8],
      [meter, 'setpoint', 35],
    ]);
    await site.shadows.request({
      ...{ ...key, type: 'update', writer: 'site:ann' },
      patch: { desired: { setpoint: 42.5 } },
    });
    const view = await reported(site, 'setpoint', 42.5);
    t.equal(view.delta, undefined);
    t.equal(unit.holding[10], 85);
  });
}

t.test('what can not be written is explained where admins look', async (t) => {
  const { unit, server } = await simulated(t, 'tcp');
  const { site } = await open(t, server.port);
  await online(site);
  await site.shadows.request({
    ...{ ...key, type: 'update', writer: 'site:ann' },
    patch: { desired: { setpoint: 90, flow: 3 } },
  });
  await reported(site, 'modbus_refused', {
    flow: 'it is not writable',
    setpoint: '90 is out of range: 20 to 60',
  });
  t.equal(unit.holding[10], 70);
  // As it is: there is no delta, and nothing to be refused.
  await site.shadows.request({
    ...{ ...key, type: 'update', writer: 'site:ann' },
    patch: { desired: { setpoint: 35, flow: null } },
  });
  await reported(site, 'modbus_refused', undefined);
});

t.test('a command is answered for it, since it has none', async (t) => {
  const { server } = await simulated(t, 'tcp');
  const { site } = await open(t, server.port);
  await online(site);
  await site.commands.create({
    ...{ device: meter, command: 'c1', type: 'reboot', payload: {} },
    expiresAt: Date.now() + 60_000,
  });
  const view = await site.until(async () => {
    const found = await site.commands.get(meter, 'c1');
    return found?.state === 'delivered' ? undefined : found;
  });
  t.match(view, { state: 'failed', error: /has no commands/ });
});

t.test('is offline while nobody is at its address, and back', async (t) => {
  const { unit, server } = await simulated(t, 'tcp');
  const { site, modbus } = await open(t, server.port);
  await online(site);
  await server.close();
  await online(site, false);
  t.match(site.lines(), [{ name: 'cellar', driver: 'modbus', isUp: false }]);
  const again = await serveSimulatedUnits([unit], { port: server.port });
  t.teardown(() => again.close());
  await online(site);
  const [line] = modbus.lines();
  t.ok((line?.bus.statistics.counts.answers ?? 0) > 0);
});

/** What a route answers, of a site with one bus. */
const asks = (modbus: ModbusLines, site: SerialSite) => {
  const routes = modbusRoutes({
    buses: modbus.lines,
    lines: { list: () => site.lines(), find: () => undefined },
  });
  return (path: string): Promise<unknown> => {
    const { route, params, query } = findRoute(routes, { method: 'GET', url: `/api/v1${path}` });
    // Nothing else of a request matters to them.
    return route.handle({ params, query } as RouteRequest);
  };
};

t.test('an installer finds out who answers, and what its registers mean', async (t) => {
  const { server } = await simulated(t, 'tcp');
  const { site, modbus } = await open(t, server.port);
  await reported(site, 'setpoint', 35);
  const ask = asks(modbus, site);
  t.match(await ask('/modbus'), {
    buses: [
      {
        ...{ name: 'cellar', state: 'up', garbled: 0, timeouts: 0 },
        units: [{ device: meter, unit: 3, model: 'HP-7', online: true, problems: {} }],
      },
    ],
  });
  t.same(await ask('/modbus/buses/cellar/scan?from=3&to=4&timeout_ms=500'), {
    found: [{ unit: 3, device: meter, said: 'an answer' }],
  });
  t.match(await ask(`/modbus/devices/${meter}/registers`), {
    registers: [
      { name: 'flow', kind: 'input', address: 0, value: 32.8, unit: '°C', problem: null },
      { name: 'setpoint', value: 35 },
    ],
  });
  const probed = (await ask('/modbus/buses/cellar/probe?unit=3&kind=input&address=0&count=2')) as {
    words: number[];
    readings: { type: string; byte_order: string; value: unknown }[];
  };
  t.same(probed.words, [0x4203, 0x3333]);
  t.same(
    probed.readings.find((one) => one.type === 'float32' && one.byte_order === 'ABCD')?.value,
    32.8,
  );
  t.match(await ask('/modbus/buses/cellar/probe?unit=9&kind=input&address=0'), {
    problem: 'no answer',
    next: /unit number/,
  });
  for (const [path, code] of [
    ['/modbus/buses/attic/probe?unit=1', 'RESOURCE_NOT_FOUND'],
    ['/modbus/buses/cellar/probe?unit=0&address=1', 'REQUEST_INVALID'],
    ['/modbus/buses/cellar/probe?unit=1&address=1&kind=register', 'REQUEST_INVALID'],
    ['/modbus/buses/cellar/scan?from=1&to=40', 'REQUEST_INVALID'],
    ['/modbus/devices/pump/registers', 'RESOURCE_NOT_FOUND'],
    [`/modbus/devices/${meter}/registers?name=x`, 'RESOURCE_NOT_FOUND'],
  ] as const) {
    await t.rejects(
      Promise.resolve().then(() => ask(path)),
      { code },
      path,
    );
  }
});

t.test('finds the settings of a unit, and gives its line back as it was', async (t) => {
  const { modbus } = await open(t, 1);
  const pair = new PortPair();
  const unit = new SimulatedUnit({ unit: 5 });
  let speed = 0;
  pair.far.onSettings(({ baudRate }) => {
    speed = baudRate;
  });
  pair.far.onBytes((request) => {
    const answer = speed === 19_200 ? unit.answerRtu(request) : null;
    if (answer !== null) pair.far.write(answer);
  });
  const line = new SerialLine(
    { openPort: pair.openPort },
    { name: 'cellar', address: { path: 'memory' }, settings: { baudRate: 9_600 } },
  );
  line.open();
  t.teardown(() => line.close());
  const routes = modbusRoutes({
    buses: modbus.lines,
    lines: {
      list: () => [{ ...line.status, driver: 'modbus', isUp: true, devices: [] }],
      find: () => line,
    },
  });
  const asked = { method: 'POST', url: '/api/v1/modbus/buses/cellar/settings' };
  const { route, params, query } = findRoute(routes, asked);
  // Nothing else of a request matters to it.
  t.same(await route.handle({ params, query, body: { unit: 5 } } as RouteRequest), {
    found: { baud_rate: 19_200, parity: 'none', said: 'an answer' },
    configured: { baud_rate: 9_600, parity: 'none' },
  });
  t.equal(speed, 9_600);
});

t.test('the example of the page is a configuration', async (t) => {
  const page = await readFile(new URL('../../../doors/modbus/README.md', import.meta.url), 'utf8');
  const [, example = ''] = /```yaml\n(modbus:.*?)```/s.exec(page) ?? [];
  const { modbus } = parseConfigurationFile({ name: 'README.md', text: example }).tree;
  const [line] = modbusLines(v.parse(modbusSection, modbus)).wired;
  t.match(line, { name: 'cellar', address: { usb: '0403:6001' }, settings: { baudRate: 2_400 } });
});

t.test('what is wrong in a configuration is said before anything is opened', async (t) => {
  const parse = (bus: object): string => {
    const base = { name: 'b', units: [{ device: 'd', unit: 1, map: 'm' }] };
    return (
      v.safeParse(modbusSection, { buses: [{ ...base, ...bus }] }).issues?.[0]?.message ?? 'nothing'
    );
  };
  t.match(parse({}), /one of path, usb and tcp/);
  t.match(parse({ path: '/dev/ttyUSB0', tcp: '10.0.0.2' }), /one of path, usb and tcp/);
  t.match(parse({ path: '/dev/ttyUSB0', framing: 'tcp' }), /framing goes with tcp/);
  t.match(parse({ tcp: '10.0.0.2:70000' }), /must be an address/);
  t.match(parse({ tcp: '10.0.0.2', units: [] }), /must name a unit/);
  t.equal(parse({ tcp: '10.0.0.2' }), 'nothing');
  const wrong = v.parse(modbusSection, {
    maps,
    buses: [{ name: 'b', tcp: '10.0.0.2', units: [{ device: 'd', unit: 1, map: 'm' }] }],
  });
  t.throws(() => modbusLines(wrong), {
    code: 'CONFIGURATION_INVALID',
    message: /wants the map m; there are heat-pump/,
  });
});
