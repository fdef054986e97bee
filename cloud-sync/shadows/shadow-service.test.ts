import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  emptyShadow,
  mintOperations,
  type ShadowOperation,
} from '@holdfast/protos/semantics/shadow-merge';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const ofSite = (path: readonly string[], value: number, writer = 'device:d1'): ShadowOperation[] =>
  mintOperations(emptyShadow, [{ path, value }], {
    replica: 'site',
    writer,
    seen: zeroTime,
    clock: { now: Date.now(), trusted: true },
  });

const open = async (...asked: Parameters<typeof cloudUnderTest>) => {
  const [t] = asked;
  const cloud = await cloudUnderTest(...asked);
  const gateway = await enrolStandIn(cloud, 'a');
  const state = new StandInLog('state');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [state.position] });
  await link.next('welcome');
  const report = async (operations: readonly ShadowOperation[], shadow = '-') => {
    const body = { device: 'd1', shadow, operations };
    link.say({ $case: 'journal', value: await state.batch([{ kind: 'shadow', body }]) });
    await link.next('journalCommitted');
  };
  const order = async (): Promise<{ kind: string; body: Record<string, unknown> }> => {
    const { jws } = await link.next('orders');
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()).orders[0];
  };
  return { cloud, report, order };
};

const nameOf = (shadow = '-') => `sites/a/devices/d1/shadows/${shadow}`;
const update = (
  cloud: CloudUnderTest,
  desired: Record<string, unknown>,
  version?: bigint,
  name = nameOf(),
) => cloud.call(cloud.shadows, cloud.shadows.updateShadow, { name, desired, version });
const get = (cloud: CloudUnderTest, name = nameOf()) =>
  cloud.call(cloud.shadows, cloud.shadows.getShadow, { name });
const remove = (cloud: CloudUnderTest, name = nameOf()) =>
  cloud.call(cloud.shadows, cloud.shadows.deleteShadow, { name });

t.test('shows what was reported, takes what is desired, and tells the site', async (t) => {
  const { cloud, report, order } = await open(t);
  await report(ofSite(['reported', 'temp'], 20));
  const reported = await get(cloud);
  t.match(reported, { reported: { temp: 20 }, desired: undefined, delta: undefined, version: 1n });
  const updated = await update(cloud, { interval: 5, net: { mode: 'b' } }, 1n);
  t.match(updated, {
    desired: { interval: 5, net: { mode: 'b' } },
    delta: { interval: 5, net: { mode: 'b' } },
    version: 2n,
  });
  t.match(await order(), {
    kind: 'shadow',
    body: {
      device: 'd1',
      shadow: '-',
      operations: [
        { path: ['desired', 'interval'], value: 5, stamp: { writer: 'cloud:admin' } },
        { path: ['desired', 'net', 'mode'], value: 'b' },
      ],
    },
  });
  await t.rejects(update(cloud, { interval: 6 }, 1n), { code: 'RESOURCE_CONFLICT' });
  t.same((await update(cloud, { interval: null })).desired, { net: { mode: 'b' } });
  t.match(await order(), { body: { operations: [{ path: ['desired', 'interval'] }] } });
});

t.test('deletes a shadow with what was reported, and never counts back', async (t) => {
  const { cloud, report, order } = await open(t);
  await report(ofSite(['reported', 'temp'], 20), 'config');
  const name = nameOf('config');
  await update(cloud, { a: 1 }, undefined, name);
  await order();
  await remove(cloud, name);
  t.match(await order(), {
    body: {
      deleted: true,
      operations: [{ path: ['desired'] }, { path: ['reported'] }],
    },
  });
  await t.rejects(get(cloud, name), { code: 'RESOURCE_NOT_FOUND' });
  await t.rejects(remove(cloud, name), { code: 'RESOURCE_NOT_FOUND' });
  t.match(await update(cloud, { a: 2 }, undefined, name), { desired: { a: 2 }, version: 3n });
});

t.test('lists the shadows of a device, and the conflicts of device, site and fleet', async (t) => {
  const { cloud, report } = await open(t);
  await report(ofSite(['reported', 'a'], 1));
  await report(ofSite(['reported', 'a'], 1), 'b');
  const listed = await cloud.call(cloud.shadows, cloud.shadows.listShadows, {
    parent: 'sites/a/devices/d1',
    pageSize: 1,
    pageToken: '',
  });
  t.match(listed.shadows, [{ name: nameOf('-') }]);
  const rest = await cloud.call(cloud.shadows, cloud.shadows.listShadows, {
    parent: 'sites/a/devices/d1',
    pageSize: 1,
    pageToken: listed.nextPageToken,
  });
  t.match(rest, { shadows: [{ name: nameOf('b') }], nextPageToken: '' });

  // Two leaves, written here and there without either having seen the other.
  await update(cloud, { x: 1, y: 1 });
  await report([
    ...ofSite(['desired', 'x'], 2, 'site:ann'),
    ...ofSite(['desired', 'y'], 2, 'site:ann'),
  ]);
  for (const parent of ['sites/-', 'sites/a', 'sites/a/devices/d1']) {
    const conflicts = [];
    let pageToken = '';
    do {
      const page = await cloud.call(cloud.shadows, cloud.shadows.listConflicts, {
        parent,
        pageSize: 1,
        pageToken,
        includeSettled: false,
      });
      conflicts.push(...page.conflicts);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    t.same(conflicts.map(({ path }) => path.join('.')).sort(), ['desired.x', 'desired.y'], parent);
    t.match(conflicts[0], {
      shadow: nameOf(),
      winner: { writer: 'site:ann', valueJson: '2' },
      loser: { writer: 'cloud:admin', valueJson: '1' },
    });
  }
  await update(cloud, { x: 3, y: 3 });
  const { conflicts } = await cloud.call(cloud.shadows, cloud.shadows.listConflicts, {
    parent: 'sites/a',
    pageSize: 0,
    pageToken: '',
    includeSettled: false,
  });
  t.same(conflicts, [], 'written over knowingly');
});

t.test('keeps its limits, and lets a full shadow be emptied', async (t) => {
  const { cloud, report } = await open(t);
  await report(ofSite(['reported', 'a'], 1));
  const deep = { a: { a: { a: { a: { a: { a: { a: { a: { a: 1 } } } } } } } } };
  for (const [desired, code] of [
    [{ a: 'x'.repeat(9_000) }, 'REQUEST_TOO_LARGE'],
    [{ a: 'x'.repeat(40_000) }, 'REQUEST_TOO_LARGE'],
    [Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [at, 1])), 'REQUEST_TOO_LARGE'],
    [deep, 'REQUEST_INVALID'],
    [{ a: [null] }, 'REQUEST_INVALID'],
    [{ a: Number.POSITIVE_INFINITY }, 'REQUEST_INVALID'],
  ] as const) {
    await t.rejects(update(cloud, desired), { code }, JSON.stringify(desired).slice(0, 60));
  }
  t.match(await get(cloud), { desired: undefined, version: 1n });
  await update(cloud, Object.fromEntries(Array.from({ length: 900 }, (_, at) => [at, 1])));
  await update(cloud, Object.fromEntries(Array.from({ length: 900 }, (_, at) => [at, null])));
  t.equal((await get(cloud)).desired, undefined);
  for (const name of ['sites/a/devices/d1/shadows/a/b', 'sites/a/devices/d1', nameOf('a b')]) {
    await t.rejects(get(cloud, name), { code: 'REQUEST_INVALID' }, name);
  }
  await t.rejects(get(cloud, 'sites/a/devices/none/shadows/-'), { code: 'RESOURCE_NOT_FOUND' });
  await t.rejects(update(cloud, { a: 1 }, undefined, 'sites/a/devices/none/shadows/-'), {
    code: 'RESOURCE_NOT_FOUND',
  });
});

t.test('a setting raises the size of a shadow', async (t) => {
  const { cloud, report } = await open(t, { shadows: { maxDocumentBytes: 20_000 } });
  await report(ofSite(['reported', 'a'], 1));
  t.match(await update(cloud, { a: 'x'.repeat(19_900) }), { version: 2n });
  await t.rejects(update(cloud, { a: 'x'.repeat(20_000) }), { code: 'REQUEST_TOO_LARGE' });
});
