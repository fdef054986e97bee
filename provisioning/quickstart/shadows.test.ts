/** Shadows across processes: both ends write while the WAN is cut, and people see, settle and follow what comes of it, at either end. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import * as v from 'valibot';
import { waitUntil } from '../program/wait-until.js';
import { Fleet, site } from './fleet.js';
import { bins } from './programs.js';

t.setTimeout(300_000);
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const conflicts = v.array(
  v.looseObject({
    path: v.array(v.string()),
    winner: v.looseObject({ writer: v.string(), value_json: v.string() }),
    loser: v.looseObject({ writer: v.string(), value_json: v.string() }),
    settlement: v.optional(v.looseObject({ kept: v.string(), by: v.string() })),
  }),
);
const shadow = v.looseObject({
  desired: v.record(v.string(), v.unknown()),
  reported: v.record(v.string(), v.unknown()),
  version: v.number(),
});
const changes = v.array(
  v.looseObject({
    version: v.number(),
    writer: v.string(),
    changes: v.array(v.looseObject({ path: v.array(v.string()), after: v.optional(v.unknown()) })),
  }),
);

t.test('two who wrote while the WAN was cut see it, settle it, and follow it', async (t) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'holdfast-shadows-'));
  const fleet = await Fleet.open({
    dataDirectory,
    agents: 0,
    simulated: 1,
    hasSerial: false,
    log,
    args: { gateway: ['--link.first-retry-ms=50', '--link.most-retry-ms=500'] },
  });
  t.teardown(async () => {
    await fleet.close();
    await rm(dataDirectory, { recursive: true });
  });
  const device = 'sim-1';
  const inCloud = `${site}/${device}`;
  const atGateway = (...args: string[]) => fleet.holdfast('--gateway', 'shadow', ...args);
  const cloud = (...args: string[]) => fleet.holdfast('shadow', ...args);
  const conflictsAt = async (end: typeof cloud, ...more: string[]) =>
    v.parse(conflicts, await end('conflicts', ...more));
  const shadowAt = async (end: typeof cloud, name: string) =>
    v.parse(shadow, await end('get', name));

  await atGateway('set', device, 'mode=auto', 'interval=30');
  await waitUntil('the control plane has it', async () => {
    const { desired } = v.parse(
      v.looseObject({ desired: v.optional(v.unknown()) }),
      await cloud('get', inCloud),
    );
    return JSON.stringify(desired ?? {}).includes('auto');
  });
  const planRevision = async () =>
    v.parse(
      v.looseObject({ plan: v.looseObject({ revision: v.number() }) }),
      await fleet.holdfast('--gateway', 'status'),
    ).plan.revision;
  const before = await planRevision();
  await cloud('policy', '--site', site, 'desired.interval=site');
  await waitUntil('the site has the rule', async () => (await planRevision()) > before);

  const watching = spawn(process.execPath, [
    ...[
      bins.holdfast,
      '--json',
      '--data',
      fleet.folder('cli'),
      '--gateway',
      'shadow',
      'watch',
      device,
    ],
  ]);
  const told: string[] = [];
  createInterface(watching.stdout).on('line', (line) => told.push(line));
  t.teardown(() => watching.kill());

  fleet.wan.set('cut');
  await atGateway('set', device, 'mode=manual', 'interval=10');
  await cloud('set', inCloud, 'mode=fast', 'interval=60');
  fleet.wan.set('up');

  for (const end of [atGateway, cloud]) {
    await waitUntil('the conflict is seen', async () => (await conflictsAt(end)).length === 1);
    t.match(await conflictsAt(end), [
      {
        path: ['desired', 'mode'],
        winner: { writer: 'cloud:admin', value_json: '"fast"' },
        loser: { writer: 'site:operator', value_json: '"manual"' },
      },
    ]);
  }
  t.match((await shadowAt(atGateway, device)).desired, { mode: 'fast', interval: 10 });
  await fleet.child('gateway').stop();
  await fleet.startGateway();
  await atGateway('settle', device, 'mode', '--keep', 'loser');
  for (const end of [atGateway, cloud]) {
    await waitUntil('it is settled', async () => (await conflictsAt(end)).length === 0);
    const settled = await conflictsAt(end, '--all');
    t.match(
      settled.find(({ path }) => path[1] === 'mode'),
      { settlement: { kept: 'loser', by: 'site:operator' } },
    );
    t.match(
      settled.find(({ path }) => path[1] === 'interval'),
      { settlement: { kept: 'loser', by: 'policy' } },
    );
  }
  await waitUntil('the device does it, and everybody knows', async () => {
    const both = await Promise.all([shadowAt(atGateway, device), shadowAt(cloud, inCloud)]);
    return both.every(
      ({ desired, reported }) =>
        desired.mode === 'manual' && reported.mode === 'manual' && desired.interval === 10,
    );
  });

  const history = v.parse(changes, await atGateway('history', device, '--path', 'mode'));
  t.match(
    history.map(({ writer, changes: [leaf] }) => [writer, leaf?.after]),
    [
      ['site:operator', 'auto'],
      ['site:operator', 'manual'],
      ['cloud:admin', 'fast'],
      ['site:operator', 'manual'],
    ],
  );
  const [first] = history;
  const difference = await atGateway('diff', device, '--from', String(first?.version ?? 0));
  t.match(difference, [
    { path: ['desired', 'interval'], before: 30, after: 10 },
    { path: ['desired', 'mode'], before: 'auto', after: 'manual' },
  ]);
  t.same(await atGateway('diff', device), []);

  // What was watched across the restart of the gateway is what the history has.
  const last = history.at(-1)?.version ?? 0;
  const versions = () =>
    told.map((line) => v.parse(v.looseObject({ version: v.number() }), JSON.parse(line)).version);
  await waitUntil('the watch has come so far', async () => versions().includes(last));
  const whole = v.parse(changes, await atGateway('history', device));
  const from = versions()[0] ?? 0;
  t.same(
    versions().filter((version) => version <= last),
    whole.map(({ version }) => version).filter((version) => version >= from && version <= last),
  );
});
