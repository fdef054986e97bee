import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import { SimulatedSerialDevice } from '@holdfast/devices/simulator/simulated-serial-device';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import t, { type Test } from 'tap';
import { farEnd } from './test-far-end.js';
import { folderOf, openSerialSite, type SerialSite } from './test-serial-site.js';

const pump = 'pump-1';
const key = { device: pump, name: classicShadow };

/** A simulated device on a line whose name outlives it, quick enough for a test. */
const simulated = async (
  t: Test,
  link: string,
  options: { readonly id?: string; readonly telemetryIntervalMs?: number } = {},
) => {
  const line = await openPseudoTerminal({ link });
  const device = new SimulatedSerialDevice(
    { line },
    { id: pump, telemetryIntervalMs: 60_000, resendAfterMs: 50, ...options },
  );
  device.open();
  t.teardown(async () => {
    device.close();
    await line.close();
  });
  return { line, device };
};

const desire = (site: SerialSite, desired: Record<string, number>) =>
  site.shadows.request({ ...key, type: 'update', patch: { desired }, writer: 'site:ann' });

type FarEnd = Awaited<ReturnType<typeof farEnd>>;

const sentSoFar = (far: FarEnd, command: string): number =>
  far.count((frame) => frame.t === 'command' && frame.command_id === command);

/** Until a command that nobody answers was sent again and again: what else was to be sent again has been. */
const severalRounds = async (site: SerialSite, far: FarEnd): Promise<void> => {
  const expiresAt = Date.now() + 60_000;
  const command = 'nobody-answers';
  await site.commands.create({ device: pump, command, type: 'ping', payload: 1, expiresAt });
  for (let round = 0; round < 4; ) {
    const frame = await far.next('command');
    if (frame.t === 'command' && frame.command_id === command) round += 1;
  }
};

const online = (site: SerialSite, id = pump) =>
  site.until(() => (site.devices.get(id)?.session ?? null) !== null || undefined);

const reported = (site: SerialSite, name: string, value: number) =>
  site.until(async () => {
    const view = await site.shadows.get(key);
    return view?.state.reported?.[name] === value ? view : undefined;
  });

t.test('a device on a line is a device of the site from its hello on', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  t.match(site.lines(), [
    { name: pump, isUp: false, devices: [{ device: pump, isOnline: false }] },
  ]);
  await simulated(t, link);
  await online(site);
  t.match(site.devices.get(pump), {
    door: 'serial',
    model: 'serial-simulated',
    firmwareVersion: '1.0.0',
    certificateSerial: null,
  });
  t.match(site.lines(), [
    { path: link, isUp: true, devices: [{ isOnline: true, counts: { droppedFrames: 0 } }] },
  ]);
  await Promise.all([site.door.close(), site.door.close()]);
  t.equal(site.devices.get(pump)?.session, null, 'gone with its line');
});

t.test('every point counts once by boot and seq, whatever restarts or vanishes', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const first = await openSerialSite(t, folder, lines);
  const { device, line } = await simulated(t, link, { telemetryIntervalMs: 5 });
  const seqs = async (site: SerialSite) => (await site.points()).map(({ seq = -1 }) => seq);
  const past = (site: SerialSite, count: number) =>
    site.until(async () => ((await seqs(site)).length > count ? true : undefined));
  await past(first, 20);
  await first.close();
  const second = await openSerialSite(t, folder, lines);
  const before = (await seqs(second)).length;
  await past(second, before + 20);
  await line.close();
  await second.until(() => second.devices.get(pump)?.session === null || undefined);
  const back = await openPseudoTerminal({ link });
  t.teardown(() => back.close());
  device.attach(back);
  await online(second);
  const then = (await seqs(second)).length;
  await past(second, then + 20);
  // What a break took is sent again before long.
  await second.until(async () => {
    const all = new Set(await seqs(second));
    return all.size === Math.max(...all) + 1 || undefined;
  });
  device.close();
  const points = await second.points();
  t.equal(new Set(points.map(({ boot }) => boot)).size, 1);
});

t.test('garbage and floods of one line cost the others nothing', async (t) => {
  const folder = await folderOf(t);
  const [good, bad] = [join(folder, 'good'), join(folder, 'bad')];
  const site = await openSerialSite(t, folder, [
    { device: pump, path: good },
    { device: 'noise', path: bad },
    { device: 'absent', path: join(folder, 'absent') },
  ]);
  const noise = await openPseudoTerminal({ link: bad });
  t.teardown(() => noise.close());
  await simulated(t, good, { telemetryIntervalMs: 5 });
  await online(site);
  for (let i = 0; i < 50; i += 1) noise.write(randomBytes(10_000));
  noise.write(`\n${'{"t":"telemetry","series":"x","value":1,"seq":1}\n'.repeat(2_000)}`);
  const count = (await site.points()).length;
  await site.until(async () => ((await site.points()).length > count + 100 ? true : undefined));
  t.ok((await site.points()).every(({ device }) => device === pump));
  await site.until(() => {
    const line = site.lines().find(({ name }) => name === 'noise');
    const discarded = line?.devices[0]?.counts.discardedBytes ?? 0;
    return discarded > 10_000 ? true : undefined;
  });
  const [pumpLine, , absent] = site.lines();
  t.match(pumpLine, {
    isUp: true,
    devices: [{ isOnline: true, counts: { droppedFrames: 0, discardedBytes: 0 } }],
  });
  t.match(absent, { isUp: false, state: { reason: /absent is not there/ } });
});

t.test('a line that said nothing but noise serves its device after it', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const line = await openPseudoTerminal({ link });
  for (let i = 0; i < 5; i += 1) line.write(randomBytes(5_000));
  const device = new SimulatedSerialDevice(
    { line },
    { id: pump, telemetryIntervalMs: 20, resendAfterMs: 50 },
  );
  device.open();
  t.teardown(async () => {
    device.close();
    await line.close();
  });
  await site.until(async () => ((await site.points()).length > 5 ? true : undefined));
});

t.test('what was desired while a device was away is told when it is back', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const { line, device } = await simulated(t, link);
  await online(site);
  await desire(site, { level: 1 });
  await reported(site, 'level', 1);
  await line.close();
  await site.until(() => site.devices.get(pump)?.session === null || undefined);
  await desire(site, { level: 2 });
  const back = await openPseudoTerminal({ link });
  t.teardown(() => back.close());
  device.attach(back);
  t.notOk((await reported(site, 'level', 2)).delta);
});

t.test('a delta that was lost on the line is sent again until it is reported', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const far = await farEnd(t, link);
  await far.hello();
  await desire(site, { level: 7 });
  t.match(await far.next('delta'), { state: { level: 7 } });
  const again = await far.next('delta');
  far.say({ t: 'reported', state: { level: 7 }, ref: 1 });
  t.match(await far.next('ack'), { ref: 1 });
  t.match(again, { state: { level: 7 } });
  far.say({ t: 'get' });
  t.match(await far.next('desired'), { state: { level: 7 } });
  const deltas = () => far.count((frame) => frame.t === 'delta');
  const before = deltas();
  await severalRounds(site, far);
  t.equal(deltas(), before, 'reported, it is not sent again');
});

t.test('a command is sent until it is answered, and answered once', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const far = await farEnd(t, link);
  await far.hello();
  const expiresAt = Date.now() + 60_000;
  await site.commands.create({ device: pump, command: 'c1', type: 'ping', payload: 1, expiresAt });
  t.match(await far.next('command'), { command_id: 'c1', type: 'ping', payload: 1 });
  t.match(await far.next('command'), { command_id: 'c1' }, 'the first one may be lost');
  far.say({ t: 'response', command_id: 'c1', status: 'succeeded', result: 5 });
  t.match(await far.next('ack'), { command_id: 'c1' });
  t.match(await site.commands.get(pump, 'c1'), { state: 'succeeded', response: 5 });
  far.say({ t: 'response', command_id: 'c1', status: 'failed' });
  t.match(await far.next('ack'), { command_id: 'c1' });
  t.match(await site.commands.get(pump, 'c1'), { state: 'succeeded' });
  const before = sentSoFar(far, 'c1');
  await severalRounds(site, far);
  t.equal(sentSoFar(far, 'c1'), before, 'answered, it is not sent again');
});

t.test('a command for a device that is away waits for its hello, over a restart', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const first = await openSerialSite(t, folder, lines);
  const far = await farEnd(t, link);
  await far.hello();
  await far.close();
  await first.until(() => first.devices.get(pump)?.session === null || undefined);
  const expiresAt = Date.now() + 60_000;
  await first.commands.create({ device: pump, command: 'c1', type: 'ping', payload: 1, expiresAt });
  const over = { device: pump, command: 'c2', type: 'ping', payload: 1, expiresAt: Date.now() + 1 };
  await first.commands.create(over);
  await first.close();
  const second = await openSerialSite(t, folder, lines);
  const back = await farEnd(t, link);
  await back.hello({ boot: 'b2' });
  t.match(await back.next('command'), { command_id: 'c1' });
  back.say({ t: 'response', command_id: 'c1', status: 'succeeded' });
  t.match(await back.next('ack'), { command_id: 'c1' });
  t.match(await second.commands.get(pump, 'c1'), { state: 'succeeded' });
  const before = sentSoFar(back, 'c1');
  await severalRounds(second, back);
  t.equal(sentSoFar(back, 'c1'), before, 'answered, it is not sent again');
  t.equal(sentSoFar(back, 'c2'), 0, 'its time was over');
});

t.test('a command that fits into no line of its device is answered for it', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const far = await farEnd(t, link);
  await far.hello({ max_line: 128 });
  const payload = 'x'.repeat(200);
  const expiresAt = Date.now() + 60_000;
  await site.commands.create({ device: pump, command: 'c1', type: 'ping', payload, expiresAt });
  const failed = await site.until(async () => {
    const command = await site.commands.get(pump, 'c1');
    return command?.state === 'failed' ? command : undefined;
  });
  t.match(failed, { error: 'The device takes lines of 128 bytes' });
});

t.test('a device that restarts is in one session, its new one', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const far = await farEnd(t, link);
  await far.hello();
  await far.hello({ boot: 'b2', version: '1.1' });
  t.match(site.devices.get(pump), { session: 'b2', boot: 'b2', firmwareVersion: '1.1' });
  await far.close();
  await site.until(() => site.devices.get(pump)?.session === null || undefined);
});

t.test('a fenced gateway takes nothing of a device, and says so', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
  const far = await farEnd(t, link);
  await far.hello();
  await site.fence.raise('GATEWAY_FENCED', 'g2 owns this site');
  t.match(await far.next('nack'), { code: 'GATEWAY_FENCED', message: 'g2 owns this site' });
  far.say({ t: 'telemetry', series: 'flow', value: 1, seq: 1 });
  far.sayHello();
  t.match(await far.next('nack'), { code: 'GATEWAY_FENCED' });
  t.same(await site.points(), []);
  t.equal(site.devices.get(pump)?.session, null);
});

t.test('a line that is named twice is a mistake', async (t) => {
  const folder = await folderOf(t);
  const lines = [
    { device: pump, path: '/dev/a' },
    { device: 'pump-2', path: '/dev/a' },
  ];
  await t.rejects(openSerialSite(t, folder, lines), { code: 'CONFIGURATION_INVALID' });
});

t.test(
  'a line speaks for its own device alone, and it is told when it tries another',
  async (t) => {
    const folder = await folderOf(t);
    const link = join(folder, 'tty');
    const site = await openSerialSite(t, folder, [{ device: pump, path: link }]);
    const end = await farEnd(t, link);
    await end.next('who');
    end.sayHello({ id: 'pump-2' });
    t.match(await end.next('nack'), { code: 'NOT_AUTHORISED' });
    t.match(site.refused, [
      { who: { kind: 'line', device: pump }, what: 'pump-2', reason: 'DEVICE_OF_ANOTHER' },
    ]);
    t.equal(site.devices.get('pump-2'), undefined);
    await end.hello();
    await online(site);
  },
);
