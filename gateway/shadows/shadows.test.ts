import { renderShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  emptyShadow,
  mergeShadows,
  type ShadowEdit,
} from '@holdfast/protos/semantics/shadow-merge';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Write } from '@holdfast/provisioning/storage/write';
import t from 'tap';
import {
  cloudWrites,
  desired,
  device,
  effectsOf,
  journalOf,
  key,
  openFolder,
  openSite,
  update,
} from './shadow-site-fixture.js';

t.test('a change, its journal entry and what is to be told of it are there together', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const outcome = await site.shadows.request(
    update(
      { reported: { on: true, list: [1] }, desired: { level: 4 } },
      { asker: { door: 'native', clientToken: 'c1' } },
    ),
  );
  t.same(outcome, { accepted: true, version: 1 });
  t.match(await site.shadows.get(key), {
    state: { desired: { level: 4 }, reported: { on: true, list: [1] } },
    metadata: { reported: { on: { timestamp: 5 } } },
    delta: { state: { level: 4 } },
    version: 1,
    timestamp: 5,
  });
  t.match(await journalOf(site), [
    {
      device: 'pi-1',
      shadow: '-',
      operations: [
        { path: ['desired', 'level'], value: 4, stamp: { wall: 5_000, writer: device } },
        { path: ['reported', 'on'], value: true },
        { path: ['reported', 'list'], value: [1] },
      ],
    },
  ]);
  t.match(await effectsOf(site), [
    {
      id: 'shadow_changed:pi-1:-:1',
      change: {
        version: 1,
        answer: {
          door: 'native',
          operation: 'update',
          clientToken: 'c1',
          state: { reported: { on: true } },
          metadata: { reported: { list: { timestamp: 5 } } },
        },
        delta: { state: { level: 4 }, metadata: { level: { timestamp: 5 } } },
        documents: {
          previous: { state: {}, version: 0 },
          current: { state: { desired: { level: 4 } }, version: 1 },
        },
      },
    },
  ]);
});

t.test('a refusal and a failed commit leave nothing behind', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ reported: { a: 1 } }));
  t.same(await site.shadows.request(update({ reported: { a: 2 } }, { version: 9 })), {
    accepted: false,
    code: 409,
    message: 'Version conflict',
  });
  site.failures.push(new Error('disk full'));
  await t.rejects(site.shadows.request(update({ reported: { a: 3 } })), { message: 'disk full' });
  t.match(await site.shadows.get(key), { state: { reported: { a: 1 } }, version: 1 });
  t.equal((await journalOf(site)).length, 1);
  t.same(await site.shadows.request(update({ reported: { a: 4 } })), {
    accepted: true,
    version: 2,
  });
});

t.test('finds everything again after a restart, and its clock goes on', async (t) => {
  let site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ desired: { a: 1, gone: 1 } }));
  await site.shadows.request(update({ desired: { gone: null } }));
  await site.shadows.applyRemote(
    { device: 'pi-1', shadow: '-', operations: cloudWrites(emptyShadow, 9_000, desired(9)) },
    (write) => site.store.commits.commit(write),
  );
  const before = await site.shadows.get(key);
  site = await site.reopen();
  t.same(await site.shadows.get(key), before);
  site.trusted = false;
  site.now = 1;
  await site.shadows.request(update({ reported: { b: 1 } }));
  const [last] = (await journalOf(site)).slice(-1);
  t.match(last?.operations, [{ stamp: { wall: 9_000, counter: 1 } }]);
  t.equal((await site.shadows.get(key))?.version, 4);
  await site.shadows.request(update({ reported: { b: 1 } }, { name: 'other' }));
  const [other] = (await journalOf(site)).slice(-1);
  t.match(other?.operations, [{ stamp: { wall: 9_000, counter: 2 } }], 'one clock for all shadows');
});

t.test('decides requests about one shadow one after the other', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const outcomes = await Promise.all(
    [...Array(10).keys()].map((n) =>
      site.shadows.request(update({ reported: { [`k${n}`]: n } }, { version: n < 5 ? n : 4 })),
    ),
  );
  t.same(
    outcomes.map((outcome) => (outcome.accepted ? outcome.version : outcome.code)),
    [1, 2, 3, 4, 5, 409, 409, 409, 409, 409],
  );
});

t.test('refuses more than may wait, and serves the others', async (t) => {
  const site = await openSite(t, await openFolder(t), { maxWaiting: 3 });
  const outcomes = await Promise.all(
    [...Array(5).keys()].map((n) => site.shadows.request(update({ reported: { n } }))),
  );
  t.same(
    outcomes.map((outcome) => (outcome.accepted ? 'ok' : outcome.code)),
    ['ok', 'ok', 'ok', 429, 429],
  );
  const other = { ...key, device: 'pi-2', writer: 'device:pi-2' as const };
  t.ok((await site.shadows.request(update({ reported: { a: 1 } }, other))).accepted);
});

t.test('a device that floods its shadow holds up no order of the control plane', async (t) => {
  const site = await openSite(t, await openFolder(t), { maxWaiting: 2 });
  const flood = [1, 2].map((level) => site.shadows.request(update({ reported: { level } })));
  await site.shadows.applyRemote({ device: 'pi-1', shadow: '-', operations: [] }, (write) =>
    site.store.commits.commit(write),
  );
  await Promise.all(flood);
});

t.test('holds few shadows in memory and all on disk', async (t) => {
  const site = await openSite(t, await openFolder(t), { maxCachedBytes: 2_000 });
  const names = [...Array(10).keys()].map((n) => `shadow-${n}`);
  for (const name of names) await site.shadows.request(update({ reported: { name } }, { name }));
  for (const name of names) {
    t.match(await site.shadows.get({ ...key, name }), {
      state: { reported: { name } },
      version: 1,
    });
  }
  t.same(await site.shadows.namesOf('pi-1'), names);
});

t.test('a deleted shadow is gone, and counts on when it is written again', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ reported: { a: 1 } }));
  t.match(await site.shadows.request({ ...key, type: 'delete', writer: device }), { version: 1 });
  t.equal(await site.shadows.get(key), undefined);
  t.same(await site.shadows.namesOf('pi-1'), []);
  t.match(await journalOf(site), [{}, { deleted: true, operations: [{ path: ['reported'] }] }]);
  t.same(
    (await effectsOf(site)).map(({ id }) => id),
    ['shadow_changed:pi-1:-:1', 'shadow_changed:pi-1:-:1:deleted'],
  );
  t.match(await site.shadows.request(update({ reported: { b: 1 } })), { version: 2 });
  t.same((await site.shadows.get(key))?.state, { reported: { b: 1 } });
});

t.test('merges what the cloud wrote, once, with the position of its order', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const writes: Write[] = [];
  const commit = async (write: Write) => {
    writes.push(write);
    await site.store.commits.commit(write);
  };
  const order = {
    device: 'pi-1',
    shadow: '-',
    operations: cloudWrites(emptyShadow, 6_000, desired(9)),
  };
  await site.shadows.applyRemote(order, commit);
  await site.shadows.applyRemote(order, commit);
  t.same(
    writes.map(({ length }) => length > 0),
    [true, false],
    'the second changes nothing, and its position is committed all the same',
  );
  t.same(await journalOf(site), [], 'the cloud is not told of its own writes');
  t.match(await effectsOf(site), [{ change: { version: 1, delta: { state: { level: 9 } } } }]);
});

t.test('takes no orders that are none, and leaves the position to the link', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const commit = async () => void t.fail('committed');
  const foreign = cloudWrites(emptyShadow, 1, { path: ['reported', 'a'], value: 1 });
  for (const operations of [[{}], foreign]) {
    await t.rejects(site.shadows.applyRemote({ device: 'pi-1', shadow: '-', operations }, commit), {
      code: 'REQUEST_INVALID',
    });
  }
});

t.test('keeps a conflict with who and when, until someone writes over both', async (t) => {
  let site = await openSite(t, await openFolder(t));
  const person = { writer: 'site:ann' as const };
  await site.shadows.request(update({ desired: { level: 4 } }, person));
  site.now = 8_000;
  await site.shadows.applyRemote(
    { device: 'pi-1', shadow: '-', operations: cloudWrites(emptyShadow, 7_000, desired(9)) },
    (write) => site.store.commits.commit(write),
  );
  site = await site.reopen();
  t.match((await site.shadows.conflicts({ device: 'pi-1' })).conflicts, [
    {
      device: 'pi-1',
      name: '-',
      detectedAt: 8_000,
      path: ['desired', 'level'],
      winner: { value: 9, stamp: { writer: 'cloud', wall: 7_000 } },
      loser: { value: 4, stamp: { writer: 'site:ann', wall: 5_000 } },
    },
  ]);
  t.same((await site.shadows.conflicts({ device: 'pi-2' })).conflicts, []);
  site.now = 9_000;
  await site.shadows.request(update({ desired: { level: 5 } }, person));
  t.same((await site.shadows.conflicts()).conflicts, []);
});

t.test(
  'comes to what the cloud has, from its journal alone, whatever both wrote meanwhile',
  async (t) => {
    const site = await openSite(t, await openFolder(t));
    let cloud = emptyShadow;
    const down: ReturnType<typeof cloudWrites>[] = [];
    const inCloud = (now: number, ...edits: readonly ShadowEdit[]) => {
      const operations = cloudWrites(cloud, now, ...edits);
      cloud = applyOperations(cloud, operations);
      down.push(operations);
    };
    await site.shadows.request(
      update({ desired: { level: 1, mode: { a: 1 } }, reported: { level: 1 } }),
    );
    inCloud(6_000, desired(2), { path: ['desired', 'mode'], value: 'fast' });
    site.now = 7_000;
    await site.shadows.request(update({ desired: { mode: { b: 2 } } }, { writer: 'site:ann' }));
    await site.shadows.request(update({ reported: { level: null, on: true } }));
    inCloud(5_500, { path: ['desired', 'level'] });
    for (const operations of down) {
      await site.shadows.applyRemote({ device: 'pi-1', shadow: '-', operations }, (write) =>
        site.store.commits.commit(write),
      );
    }
    for (const { operations } of await journalOf(site)) {
      cloud = applyOperations(cloud, parseShadowOperations(operations));
    }
    const view = await site.shadows.get(key);
    t.same(renderShadow(cloud), { state: view?.state, metadata: view?.metadata });
  },
);

t.test(
  'a site that lost its database takes the cloud’s state, and forgets nothing it wrote since',
  async (t) => {
    const old = await openSite(t, await openFolder(t));
    await old.shadows.request(update({ reported: { a: 1 }, desired: { level: 1 } }));
    const operations = (await journalOf(old)).flatMap((entry) =>
      parseShadowOperations(entry.operations),
    );
    const cloud = mergeShadows(emptyShadow, applyOperations(emptyShadow, operations));

    const rebuilt = await openSite(t, await openFolder(t));
    rebuilt.trusted = false;
    await rebuilt.shadows.request(update({ desired: { level: 3 } }, { writer: 'site:ann' }));
    await rebuilt.shadows.applyRemote(
      { device: 'pi-1', shadow: '-', operations: [...cloud.leaves.values()] },
      (write) => rebuilt.store.commits.commit(write),
    );
    t.match(await rebuilt.shadows.get(key), {
      state: { reported: { a: 1 }, desired: { level: 1 } },
    });
    t.match((await rebuilt.shadows.conflicts()).conflicts, [
      { loser: { value: 3, stamp: { writer: 'site:ann' } } },
    ]);
  },
);
