import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ConfiguredLine } from '../../gpio/line-settings.js';
import { SimulatedGpio } from '../../gpio/simulated-gpio.js';
import { openAgent } from '../agent.js';
import { enrol } from '../enrol.js';
import { loadCredentials } from '../identity.js';
import { openSettings } from '../settings.js';
import { TestGateway } from '../test-gateway.js';
import { AgentIo } from './agent-io.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const at = { chip: 'gpiochip0', activeLow: false, bias: 'as-is' } as const;
const fan: ConfiguredLine = {
  ...at,
  ...{ name: 'fan', role: 'relay', line: 17, safe: 'off' },
  ...{ safeAfterS: 0.05, minOnS: 0, minOffS: 0 },
};
const meter: ConfiguredLine = { ...at, name: 'meter', role: 'counter', line: 5, everyS: 1 };

const folderOf = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'agent-io-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

const open = async (t: Test, dataDir: string, gpio = new SimulatedGpio()) => {
  const measured: (readonly [string, number])[] = [];
  const io = await AgentIo.open(
    { gpio, log, changed: () => undefined, measured: (...one) => measured.push([one[0], one[1]]) },
    { lines: [fan, meter], dataDir },
  );
  t.teardown(() => io.close());
  io.start();
  return { io, gpio, measured };
};

t.test('a relay follows the shadow of a session, and goes safe when that is lost', async (t) => {
  const { io, gpio } = await open(t, await folderOf(t));
  await gpio.until(() => gpio.shown(fan) === false);
  io.connected();
  t.equal(gpio.shown(fan), false, 'nobody said what is desired yet');
  io.desire({ fan: true });
  await gpio.until(() => gpio.shown(fan) === true);
  t.equal(io.reported.fan, true);
  io.disconnected();
  await gpio.until(() => gpio.shown(fan) === false);
  io.connected();
  io.desire({ fan: true });
  await gpio.until(() => gpio.shown(fan) === true);
  await io.close();
  t.same(gpio.sets.at(-1), ['gpiochip0 17', false]);
});

t.test('lines that say something at once find an agent that is there', async (t) => {
  const gateway = await TestGateway.open();
  t.teardown(() => gateway.close());
  const dataDir = join(await folderOf(t), 'agent');
  const proof = { code: gateway.code };
  await enrol({ log }, { dataDir, proof, deviceId: 'pump-1', model: 'pump' });
  const waiting = { series: 'flow', value: 1, boot: 'before', seq: 0 };
  await writeFile(join(dataDir, 'telemetry.jsonl'), `${JSON.stringify(waiting)}\n`);
  const gpio = new SimulatedGpio();
  gpio.break(fan);
  const lines = [fan, { ...at, name: 'door', role: 'input', line: 6 }];
  const credentials = await loadCredentials(dataDir, log);
  const deps = { credentials, log, gpio };
  const signal = AbortSignal.timeout(20_000);
  const agent = await openAgent(deps, { dataDir, signal, gpio: { lines } });
  t.teardown(() => agent.close());
  const isOf = (of: string, topic: string): boolean => topic.endsWith(`/telemetry/${of}`);
  await gateway.heard(({ topic }) => isOf('door', topic));
  const topics = gateway.said.map(({ topic }) => topic);
  const [first, then] = ['flow', 'door'].map((of) => topics.findIndex((one) => isOf(of, one)));
  t.ok(Number(first) >= 0 && Number(first) < Number(then), 'behind what waits');
});

t.test('a relay is switched off though nothing can be written', async (t) => {
  const folder = await folderOf(t);
  const told: unknown[] = [];
  const settings = await openSettings(
    { log, apply: () => undefined, gpio: (one) => told.push(one) },
    { dataDir: folder },
  );
  await settings.replace({ gpio: { fan: true } }, 1);
  await rm(folder, { recursive: true });
  await t.rejects(settings.merge({ gpio: { fan: false } }, 2));
  t.same(told, [{ fan: true }, { fan: false }]);
  await t.rejects(settings.replace({ gpio: {} }, 3));
  t.same(told.at(-1), {});
  await mkdir(folder);
});

t.test('what was desired before the start is followed once the gateway says so', async (t) => {
  const folder = await folderOf(t);
  const told: unknown[] = [];
  const settingsOf = () =>
    openSettings(
      { log, apply: () => undefined, gpio: (one) => told.push(one) },
      { dataDir: folder },
    );
  const before = await settingsOf();
  await before.replace({ gpio: { fan: true }, colour: 'red' }, 1);
  t.same(told.splice(0), [{ fan: true }]);
  const settings = await settingsOf();
  t.same(told, [], 'not at the start');
  t.match(settings.reported, { colour: 'red', gpio: undefined }, 'lines report for themselves');
  await settings.merge({ gpio: { fan: false } }, 2);
  t.same(told, [{ fan: false }]);
});

t.test('totals of a counter survive a restart of the agent', async (t) => {
  const folder = await folderOf(t);
  const first = await open(t, folder);
  await first.gpio.until(() => first.gpio.isWatched(meter));
  first.gpio.drive(meter, true, false, true);
  await first.io.close();
  t.same(first.measured, [['meter', 2]]);
  const second = await open(t, folder);
  await second.gpio.until(() => second.gpio.isWatched(meter));
  second.gpio.drive(meter, true);
  await second.io.close();
  t.same(second.measured, [['meter', 3]]);
});
