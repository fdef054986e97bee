/**
 * The main job, across processes: a site that keeps running, updates its devices and is edited while its WAN is cut, dies, starts
 * again without it, and reconciles to the last message.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import * as v from 'valibot';
import { waitUntil } from '../program/wait-until.js';
import { Fleet, firstVersion, model, site } from './fleet.js';
import { writeSampleFirmware } from './sample-firmware.js';

t.setTimeout(600_000);

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const device = v.object({
  device: v.string(),
  online: v.boolean(),
  firmware_version: v.optional(v.string()),
});
const campaign = v.object({
  name: v.string(),
  state: v.string(),
  progress: v.optional(v.record(v.string(), v.union([v.string(), v.number()]))),
});
const phased = v.object({
  phases: v.array(v.looseObject({ progress: v.looseObject({ succeeded: v.number() }) })),
});
const execution = v.object({ device: v.string(), status: v.string() });
const shadow = v.object({
  // One end leaves out a section that is empty, the other does not.
  desired: v.optional(v.record(v.string(), v.unknown()), {}),
  reported: v.optional(v.record(v.string(), v.unknown()), {}),
});
const point = v.object({ series: v.string(), boot: v.string(), seq: v.optional(v.number()) });

t.test('a site keeps running without its network and reconciles to the last message', async (t) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'holdfast-scenario-'));
  const logs: string[] = [];
  const ended: string[] = [];
  const fleet = await Fleet.open({
    dataDirectory,
    agents: 2,
    simulated: 20,
    hasSerial: true,
    log,
    onEnded: (name, exit) => ended.push(`${name} ${exit.signal ?? exit.code}`),
    onLogLine: (program, line) => {
      logs.push(`${program} ${line}`);
      if (logs.length > 2_000) logs.shift();
    },
    args: {
      gateway: ['--link.first-retry-ms=50', '--link.most-retry-ms=500'],
      simulator: ['--simulate.interval-s=1'],
    },
  });
  t.teardown(async () => {
    if (!t.passing()) process.stderr.write(`${logs.slice(-300).join('\n')}\n`);
    await fleet.close();
    await rm(dataDirectory, { recursive: true });
  });

  const inCloud = async () =>
    v.parse(v.array(device), await fleet.holdfast('device', 'list', '--site', site));
  const onSite = async () =>
    v
      .parse(v.array(device), await fleet.holdfast('--gateway', 'device', 'list'))
      .sort((one, other) => (one.device < other.device ? -1 : 1));
  const all = fleet.deviceIds.length;

  await waitUntil('every device is online in the cloud', async () => {
    const devices = await inCloud();
    return devices.length === all && devices.every(({ online }) => online);
  });

  t.comment('the firmware and its campaign arrive');
  const second = join(dataDirectory, 'second.tar');
  await writeSampleFirmware(second, { version: '2.0.0', behaviour: 'works' });
  const bad = join(dataDirectory, 'bad.tar');
  await writeSampleFirmware(bad, { version: '3.0.0', behaviour: 'crashes' });
  await fleet.releaseFirmware(second, '2.0.0');
  await fleet.releaseFirmware(bad, '3.0.0');
  const create = (id: string, version: string, ...more: string[]) =>
    fleet.holdfast(...['campaign', 'create', id, '--firmware', `${model}@${version}`, ...more]);
  // Four at a time, so that the WAN is cut long before all are through; the second half is approved beforehand.
  const phases = ['--phase', '50%:success=100', '--phase', '100%:approve'];
  await create('second', '2.0.0', '--concurrency', '4', ...phases);
  await fleet.holdfast('campaign', 'approve', 'second', '--reason', 'tried on the bench');
  await fleet.holdfast('campaign', 'start', 'second');
  await waitUntil(
    'the campaign and its image are at the site, and the first devices have begun',
    async () => {
      const campaigns = v.parse(
        v.array(v.object({ campaign: v.string(), executions: v.record(v.string(), v.number()) })),
        await fleet.holdfast('--gateway', 'campaign', 'list'),
      );
      const second = campaigns.find(({ campaign }) => campaign === 'second');
      const begun = Object.keys(second?.executions ?? {}).some((status) => status !== 'queued');
      return begun && (await imagesAtSite(fleet)) === 1;
    },
  );

  t.comment('the WAN is cut; cloud and site go on, each for itself');
  fleet.wan.set('cut');
  await fleet.holdfast(
    'shadow',
    'set',
    `${site}/sim-1`,
    'edited.in_cloud=1',
    'edited.both="cloud"',
  );
  await fleet.holdfast(
    '--gateway',
    'shadow',
    'set',
    'sim-1',
    'edited.on_site=2',
    'edited.both="site"',
  );
  await fleet.holdfast('--gateway', 'shadow', 'set', 'agent-1', 'agent.health_interval_s=1');

  t.comment('the gateway is killed and starts again without the WAN');
  await fleet.child('gateway').kill();
  t.same(ended, ['gateway SIGKILL'], 'whoever runs the fleet hears of it');
  await fleet.startGateway();
  const expected = fleet.deviceIds
    .map((id) => ({ device: id, online: true, firmware_version: '2.0.0' }))
    .sort((a, b) => (a.device < b.device ? -1 : 1));
  let devices = await onSite();
  // The comparison below says which device does not, which the wait cannot.
  await waitUntil(
    'every device runs the new version',
    async () => {
      devices = await onSite();
      return isDeepStrictEqual(devices, expected);
    },
    { deadlineMs: 120_000 },
  ).catch(() => undefined);
  t.same(devices, expected, 'every device runs the new version');
  const untouched = v.parse(campaign, (await listCampaigns(fleet))[0]);
  t.not(untouched.state, 'completed', 'the cloud has not heard of it yet');

  t.comment('the WAN returns');
  fleet.wan.set('up');
  const completed = (id: string) =>
    waitUntil(`the campaign ${id} is completed`, async () => {
      const campaigns = v.parse(v.array(campaign), await listCampaigns(fleet));
      return campaigns.some(
        ({ name, state }) => name === `campaigns/${id}` && state === 'completed',
      );
    });
  const outcomesOf = async (id: string) =>
    v.parse(v.array(execution), await fleet.holdfast('campaign', 'executions', id));
  await completed('second');
  const outcomes = await outcomesOf('second');
  t.equal(outcomes.length, all, 'one execution a device');
  for (const { device, status } of outcomes) t.equal(status, 'succeeded', device);
  const { phases: passed } = v.parse(phased, await fleet.holdfast('campaign', 'get', 'second'));
  t.match(passed, [
    { state: 'done', enteredSiteCount: 1 },
    { state: 'done', enteredSiteCount: 1, approvedBy: 'cloud:admin' },
  ]);
  const counted = passed.reduce((sum, { progress }) => sum + progress.succeeded, 0);
  t.equal(counted, all, 'each device in one phase');

  t.comment('one device gets a bad image, and the WAN is cut again before it is through');
  await create('bad', '3.0.0', '--device', 'agent-2', '--start');
  await waitUntil('the bad image is at the site', async () => (await imagesAtSite(fleet)) === 2);
  fleet.wan.set('cut');
  await waitUntil('it rolled back by itself', async () => {
    const [there] = v.parse(
      v.array(execution),
      await fleet.holdfast('--gateway', 'campaign', 'executions', 'bad'),
    );
    return there?.status === 'rolled_back';
  });
  await waitUntil('it runs what it ran before', async () => {
    devices = await onSite();
    return isDeepStrictEqual(devices, expected);
  });
  fleet.wan.set('up');
  await completed('bad');
  t.same(await outcomesOf('bad'), [{ device: `${site}/agent-2`, status: 'rolled_back' }]);
  const [withBad, withGood] = v.parse(v.array(campaign), await listCampaigns(fleet));
  t.match(withBad?.progress, { total: 1, rolledBack: 1, failed: 0 });
  t.match(withGood?.progress, { total: all, succeeded: all, failed: 0, unproven: 0 });

  t.comment('both ends agree on every leaf');
  const shadowsOf = async (id: string) => {
    const asked = [
      ['shadow', 'get', `${site}/${id}`],
      ['--gateway', 'shadow', 'get', id],
    ].map(async (command) => v.parse(shadow, await fleet.holdfast(...command)));
    const [cloud, atSite] = await Promise.all(asked);
    return { cloud, site: atSite };
  };
  for (const id of fleet.deviceIds) {
    let ends: Awaited<ReturnType<typeof shadowsOf>> | undefined;
    const areEqual = async () => {
      ends = await shadowsOf(id);
      return isDeepStrictEqual(ends.cloud, ends.site);
    };
    // The comparison below says what is different, which the wait cannot.
    await waitUntil(`the shadow of ${id} is equal at both ends`, areEqual).catch(() => undefined);
    t.ok(ends);
    t.same(ends?.cloud, ends?.site, `the shadow of ${id} is equal at both ends`);
  }
  const { cloud } = await shadowsOf('sim-1');
  t.match(cloud?.desired, { edited: { in_cloud: 1, on_site: 2, both: /^(cloud|site)$/ } });
  const conflicts = v.parse(
    v.array(v.object({ path: v.array(v.string()) })),
    await fleet.holdfast('shadow', 'conflicts'),
  );
  t.same(
    conflicts.map(({ path }) => path.join('.')),
    ['desired.edited.both'],
    'the one leaf that both wrote is told',
  );

  t.comment('every point of every device arrived once');
  await Promise.all(
    ['simulator', 'serial', 'agent-1', 'agent-2'].map((name) => fleet.child(name).stop()),
  );
  for (const id of fleet.deviceIds) {
    await waitUntil(`the points of ${id} have no hole`, async () => {
      const points = v.parse(
        v.array(point),
        await fleet.holdfast('device', 'telemetry', `${site}/${id}`, '--count', '1000'),
      );
      return points.length > 0 && holesIn(points) === 0;
    });
  }
  t.equal(firstVersion, '1.0.0');
});

const imagesAtSite = async (fleet: Fleet): Promise<number> =>
  (await readdir(join(fleet.folder('gateway'), 'firmware'))).filter((name) => !name.includes('.'))
    .length;

const listCampaigns = async (fleet: Fleet): Promise<unknown[]> =>
  v.parse(v.array(v.unknown()), await fleet.holdfast('campaign', 'list'));

/** Sequence numbers that are missing or there twice, by boot. */
const holesIn = (points: readonly v.InferOutput<typeof point>[]): number => {
  const byBoot = new Map<string, number[]>();
  for (const { boot, seq } of points) {
    byBoot.set(boot, [...(byBoot.get(boot) ?? []), seq ?? -1]);
  }
  let holes = 0;
  for (const seqs of byBoot.values()) {
    const first = Math.min(...seqs);
    if (new Set(seqs).size !== seqs.length) holes += 1;
    if (first > 1 || Math.max(...seqs) - first + 1 !== seqs.length) holes += 1;
  }
  return holes;
};
