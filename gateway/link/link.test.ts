import { EventEmitter, once } from 'node:events';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PlanDocument, PlanHead } from '@holdfast/protos/link/plan-documents';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t, { type Test } from 'tap';
import type { PlanChange } from './plan-view.js';
import { TestCloud, type TestCloudOptions } from './test-cloud.js';
import { openTestGateway, type TestGateway, type TestGatewayOptions } from './test-gateway.js';
import { TestWan } from './test-wan.js';

interface Rig {
  readonly fleet: TestFleet;
  readonly cloud: TestCloud;
  readonly wan: TestWan;
  readonly dir: string;
  gateway(options?: Partial<TestGatewayOptions>): Promise<TestGateway>;
}

const rig = async (t: Test, options: TestCloudOptions = {}): Promise<Rig> => {
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet, options);
  const wan = await TestWan.open(cloud.port);
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-link-'));
  const { tls } = await fleet.gateway('gw-1');
  const gateways: TestGateway[] = [];
  t.teardown(async () => {
    for (const gateway of gateways) await gateway.close();
    await wan.close();
    await cloud.close();
    await rm(dir, { recursive: true });
  });
  return {
    fleet,
    cloud,
    wan,
    dir,
    gateway: async (more) => {
      const gateway = await openTestGateway({
        dir,
        address: wan.address,
        fleet: fleet.fleet,
        site: fleet.site,
        root: fleet.root.certificate,
        tls,
        ...more,
      });
      gateways.push(gateway);
      return gateway;
    },
  };
};

const points = (from: number, to: number, value: unknown = 1) =>
  Array.from({ length: to - from + 1 }, (_, index) => ({
    device: 'd',
    series: 's',
    ts: 1,
    value,
    boot: 'b',
    seq: from + index,
  }));

const command = (name: string) => ({
  kind: 'command',
  body: { device: 'd', command: name, type: 't', payload: null, expires_at: 1 },
});
const site = (revision: number, name = `name ${revision}`): PlanDocument => ({
  kind: 'site',
  id: 'site',
  revision,
  body: { display_name: name },
});
const firmware = (version: string): PlanDocument => ({
  kind: 'firmware',
  id: `m@${version}`,
  revision: 1,
  body: {
    model: 'm',
    version,
    sha256: 'a'.repeat(64),
    size_bytes: 1,
    file_name: 'f',
    path: '/f',
  },
});

t.test('sends every lane, takes acknowledgements, and shows where it stands', async (t) => {
  const { cloud, gateway } = await rig(t);
  const site = await gateway();
  await site.telemetry.record(points(1, 500));
  await site.settle('c1');
  t.match(site.link.status(), { connected: false, backlog: { state: 1, telemetry: 500 } });
  site.link.open();
  await cloud.until(() => cloud.entries('telemetry').length === 500);
  await site.settle('c2');
  await site.telemetry.record(points(501, 502));
  await cloud.until(
    () => cloud.entries('state').length === 2 && cloud.entries('telemetry').length === 502,
  );
  t.same(
    cloud.entries('state').map(({ body }) => body),
    [{ campaign: 'c1' }, { campaign: 'c2' }],
  );
  t.equal(cloud.order[0], 'state', 'what matters more goes first');
  t.match(site.link.status(), { connected: true, fenced: null, refusal: null });
  await cloud.answered();
  await site.close();
  const again = await gateway();
  t.match(again.link.status().backlog, { audit: 0, state: 0, telemetry: 0 });
});

t.test(
  'goes on over one connection when the one before is committed after its welcome',
  async (t) => {
    const { cloud, gateway, wan } = await rig(t);
    const site = await gateway();
    await site.telemetry.record(points(1, 500));
    cloud.isHolding = true;
    site.link.open();
    await cloud.until(() => cloud.entries('telemetry').length === 500);
    cloud.isHolding = false;
    cloud.lateWindowBytes = 64;
    wan.flap();
    await cloud.until(() => cloud.hellos.length === 2);
    await site.telemetry.record(points(501, 502));
    await cloud.until(() => cloud.entries('telemetry').length === 502);
    t.equal(cloud.hellos.length, 2, 'nothing was wrong with it');
  },
);

t.test(
  'applies a plan as a whole, asks only for what it lacks, and has it after a restart',
  async (t) => {
    const { cloud, gateway } = await rig(t);
    const first = await gateway();
    const changes: PlanChange[] = [];
    first.plan.onChange((change) => changes.push(change));
    first.link.open();
    await cloud.publish([site(1), firmware('1'), firmware('2')]);
    await cloud.until(() => cloud.planAnswers.length === 1);
    t.equal(cloud.documentsAsked, 3);
    t.equal(first.plan.current()?.documents.firmware.size, 2);
    t.equal(first.plan.state(), 'fresh');

    await cloud.publish([site(2), firmware('2'), firmware('3')]);
    await cloud.until(() => cloud.planAnswers.length === 2);
    t.equal(cloud.documentsAsked, 5);
    const changed = changes[1]?.changed;
    t.same(
      changed?.site.set.map(({ body }) => body.display_name),
      ['name 2'],
    );
    t.same(
      changed?.firmware.set.map(({ id }) => id),
      ['m@3'],
    );
    t.same(
      changed?.firmware.removed.map(({ id }) => id),
      ['m@1'],
    );
    t.same(changed?.campaign, { set: [], removed: [] });
    await first.close();

    const again = await gateway();
    t.same([...(again.plan.current()?.documents.firmware.keys() ?? [])], ['m@2', 'm@3']);
    t.match(again.link.status().plan, { revision: 2, state: 'fresh' });
    const left = await again.store.read.all('SELECT sha256 FROM plan_documents');
    t.equal(left.length, 3, 'what the head does not name is gone');
    again.link.open();
    await cloud.until(() => cloud.hellos.length === 2);
    t.equal(cloud.hellos[1]?.planRevision, 2n);
    const audit = () => cloud.entries('audit').map(({ kind }) => kind);
    await cloud.until(() => audit().length === 2);
    t.same(audit(), ['plan_applied', 'plan_applied']);
  },
);

t.test(
  'refuses a plan of another site, an older one and an equal one with other content',
  async (t) => {
    const { cloud, gateway } = await rig(t);
    const gw = await gateway();
    gw.link.open();
    const heads: [name: string, head: Partial<PlanHead>][] = [
      ['name', { revision: 5 }],
      ['name', { revision: 6, site: 'elsewhere' }],
      ['name', { revision: 4 }],
      ['another name', { revision: 5 }],
      ['name', { revision: 5 }],
    ];
    for (const [index, [name, head]] of heads.entries()) {
      await cloud.publish([site(1, name)], head);
      await cloud.until(() => cloud.planAnswers.length === index + 1);
    }
    t.same(
      cloud.planAnswers.map(({ refusedCode }) => refusedCode),
      ['', 'PLAN_OTHER_SITE', 'PLAN_OLDER', 'PLAN_CONFLICT', ''],
    );
    t.equal(gw.plan.current()?.head.revision, 5);
  },
);

t.test('refuses documents that are malformed, and says why in the journal', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.publish([{ ...site(1), body: { display_name: 5 } } as unknown as PlanDocument]);
  await cloud.until(() => cloud.entries('audit').length === 1);
  t.match(cloud.entries('audit')[0], {
    kind: 'plan_refused',
    body: { code: 'PLAN_DOCUMENT_INVALID', revision: 1 },
  });
  t.equal(gw.plan.current(), undefined);
  await cloud.publish([
    { kind: 'novelty', id: 'x', revision: 1, body: {} } as unknown as PlanDocument,
  ]);
  await cloud.until(() => cloud.planAnswers.length === 2);
  t.equal(
    cloud.planAnswers[1]?.refusedCode,
    '',
    'a kind of a newer program is no reason to refuse',
  );
});

t.test(
  'carries each order out once, whatever is sent twice, and none twice after a restart',
  async (t) => {
    const { cloud, gateway } = await rig(t);
    const called: string[] = [];
    const first = await gateway({ onCommand: (name) => called.push(name) });
    first.link.open();
    await cloud.give(command('c1'), command('c2'));
    await cloud.until(() => cloud.ordersCommitted === 2);
    await cloud.sendOrders(1);
    await cloud.give(command('c3'));
    await cloud.until(() => cloud.ordersCommitted === 3);
    await first.close();
    const again = await gateway({ onCommand: (name) => called.push(name) });
    again.link.open();
    await cloud.until(() => cloud.hellos.length === 2);
    t.match(cloud.hellos[1], { ordersLog: 'orders-1', ordersSeq: 3n });
    await cloud.give(command('c4'));
    await cloud.until(() => cloud.ordersCommitted === 4);
    t.same(called, ['c1', 'c2', 'c3', 'c4']);
  },
);

t.test('an order that is wrong is told in the journal and holds up none after it', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.give(
    command('c1'),
    { kind: 'command', body: { device: 5 } },
    { kind: 'invented', body: null },
    command('c1'),
    command('c2'),
  );
  await cloud.until(() => cloud.ordersCommitted === 5 && cloud.entries('audit').length === 3);
  const failed = cloud.entries('audit').map(({ body }) => body as { seq: number; code: string });
  t.same(
    failed.map(({ seq, code }) => [seq, code]),
    [
      [2, 'REQUEST_INVALID'],
      [3, 'REQUEST_INVALID'],
      [4, 'STORE_CONSTRAINT'],
    ],
  );
  const rows = await gw.store.read.all('SELECT command FROM commands ORDER BY command');
  t.same(rows, [{ command: 'c1' }, { command: 'c2' }]);
});

t.test('missing orders and those of another site are never carried out', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.until(() => cloud.hellos.length === 1);
  cloud.orders.push(command('c1'), command('c2'));
  await cloud.sendOrders(2);
  await cloud.until(() => cloud.ordersCommitted === 2);
  t.equal(cloud.hellos.length, 2, 'the gap ended the connection, and the next brought both');
  cloud.orders.push(command('c3'));
  await cloud.sendOrders(3, 'elsewhere');
  await cloud.until(() => cloud.hellos.length === 3 && cloud.ordersCommitted === 3);
  const rows = await gw.store.read.all('SELECT command FROM commands ORDER BY command');
  t.equal(rows.length, 3);
});

t.test('an order under the number of another is not skipped: a new log has it', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.give(command('c1'), command('c2'));
  await cloud.until(() => cloud.ordersCommitted === 2);
  // As a control plane that was restored to a backup with one order, and was given others since.
  cloud.orders.splice(1, 1, command('c3'));
  await cloud.give(command('c4'));
  await cloud.until(() => cloud.ordersLog !== 'orders-1' && cloud.ordersCommitted === 3);
  const rows = await gw.store.read.all('SELECT command FROM commands ORDER BY command');
  t.same(
    rows,
    ['c1', 'c2', 'c3', 'c4'].map((name) => ({ command: name })),
  );
});

t.test('a new log of orders begins at one; an old one does nothing twice', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.give(command('c1'), command('c2'));
  await cloud.until(() => cloud.ordersCommitted === 2);
  const old = cloud.orders.splice(0);
  cloud.ordersLog = 'orders-2';
  cloud.ordersCommitted = 0;
  await cloud.give(command('c3'));
  await cloud.until(() => cloud.ordersCommitted === 1);
  cloud.ordersLog = 'orders-1';
  cloud.orders.splice(0, 1, ...old);
  await cloud.sendOrders(1);
  await cloud.until(() => cloud.ordersCommitted === 2);
  const rows = await gw.store.read.all('SELECT command FROM commands');
  t.equal(rows.length, 3);
});

t.test('keeps within the window, and a backlog of telemetry holds no status up', async (t) => {
  const windowBytes = 64 * 1024;
  const { cloud, gateway } = await rig(t, { windowBytes });
  const gw = await gateway();
  for (let n = 0; n < 10; n += 1) {
    await gw.telemetry.record(points(n * 2000 + 1, n * 2000 + 2000, Math.random().toString(36)));
  }
  cloud.isHolding = true;
  gw.link.open();
  await cloud.until(() => cloud.unsaid > 0);
  await gw.settle('urgent');
  await cloud.until(() => cloud.entries('state').length === 1);
  t.ok(cloud.entries('telemetry').length < 20_000, 'it overtook telemetry');
  t.ok(cloud.mostUnsaid <= windowBytes, `${cloud.mostUnsaid} bytes were under way`);
  cloud.release();
  await cloud.until(() => cloud.entries('telemetry').length === 20_000);
  t.ok(cloud.mostUnsaid <= windowBytes);
});

t.test('notices a half-open connection at 1.5 × keepalive', async (t) => {
  const keepaliveMs = 100;
  const { cloud, wan, gateway } = await rig(t, { keepaliveMs });
  let nowMs = 0;
  const looks = new EventEmitter();
  const monotonic = (): number => {
    looks.emit('look');
    return nowMs;
  };
  const gw = await gateway({ monotonic });
  gw.link.open();
  await cloud.until(() => cloud.hellos.length === 1);
  await gw.settle('c1');
  await cloud.until(() => cloud.entries('state').length === 1);
  await cloud.answered();
  wan.stall();
  nowMs += keepaliveMs * 1.5 - 1;
  for (let times = 0; times < 2; times += 1) await once(looks, 'look');
  t.equal(gw.link.status().connected, true, 'not before the line could be silent');
  nowMs += 1;
  await cloud.until(() => cloud.hellos.length === 2);
  await gw.settle('c2');
  await cloud.until(() => cloud.entries('state').length === 2);
});

t.test('is up soon after the WAN is back, however long its back-off', async (t) => {
  const { cloud, wan, gateway } = await rig(t);
  const { link } = await gateway({
    ...{ firstRetryMs: 3_600_000, mostRetryMs: 3_600_000, probeEveryMs: 50 },
  });
  link.open();
  await cloud.until(() => cloud.hellos.length === 1);
  const refused = wan.refused(2);
  wan.cut();
  await refused;
  wan.restore();
  await cloud.until(() => cloud.hellos.length === 2);
});

t.test('a quiet line that answers pings stays up', async (t) => {
  const keepaliveMs = 100;
  const { cloud, wan, gateway } = await rig(t, { keepaliveMs });
  let nowMs = 0;
  const gw = await gateway({ monotonic: () => nowMs });
  gw.link.open();
  await cloud.until(() => cloud.hellos.length === 1);
  await cloud.answered();
  for (let pings = 1; pings <= 5; pings += 1) {
    nowMs += keepaliveMs;
    await cloud.until(() => cloud.pings === pings);
    // Whoever answers this has heard the pong that was said before.
    await cloud.answered();
  }
  t.equal(wan.connections, 1);
  cloud.isAnsweringPings = false;
  nowMs += keepaliveMs * 1.5;
  await cloud.until(() => cloud.hellos.length === 2);
});

t.test(
  'begins a new log when the control plane gives one up, and sends what is kept',
  async (t) => {
    const { cloud, gateway } = await rig(t);
    const gw = await gateway();
    gw.link.open();
    await gw.settle('c1');
    await cloud.until(() => cloud.entries('state').length === 1);
    const old = gw.state.log;
    cloud.giveUp('state', old);
    await cloud.until(() => cloud.logs.has(`state/${gw.state.log}`) && gw.state.log !== old);
    await gw.settle('c2');
    await cloud.until(() => cloud.logs.get(`state/${gw.state.log}`)?.entries.length === 2);
    t.equal(cloud.hellos.length, 1, 'on the same connection');
  },
);

t.test(
  'a restored copy goes on under a new log instead of telling other things by old numbers',
  async (t) => {
    const { cloud, gateway, dir } = await rig(t);
    const first = await gateway();
    first.link.open();
    await first.settle('c1');
    await cloud.until(() => cloud.entries('state').length === 1);
    await first.close();
    const backup = await mkdtemp(join(tmpdir(), 'holdfast-backup-'));
    t.teardown(() => rm(backup, { recursive: true }));
    await cp(dir, backup, { recursive: true });

    const second = await gateway();
    const log = second.state.log;
    second.link.open();
    await second.settle('c2');
    await cloud.until(() => cloud.entries('state').length === 2);
    await second.close();

    await rm(dir, { recursive: true });
    await cp(backup, dir, { recursive: true });
    const restored = await gateway();
    t.equal(restored.state.log, log);
    await restored.settle('c3');
    restored.link.open();
    await cloud.until(() => cloud.entries('state').length === 4);
    t.not(restored.state.log, log);
    t.same(
      cloud.logs.get(`state/${restored.state.log}`)?.entries.map(({ body }) => body),
      [{ campaign: 'c1' }, { campaign: 'c3' }],
    );
  },
);

t.test('a restored control plane gets again what it lost', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await gw.settle('c1');
  await cloud.until(() => cloud.entries('state').length === 1);
  const key = `state/${gw.state.log}`;
  const before = cloud.logs.get(key);
  if (!before) throw new Error('no such log');
  await gw.settle('c2');
  await cloud.until(() => cloud.entries('state').length === 2);
  cloud.logs.set(key, { seq: 1, chain: before.chain, entries: before.entries.slice(0, 1) });
  cloud.refuse('INTERNAL');
  await cloud.until(() => cloud.hellos.length === 2 && cloud.entries('state').length === 2);
  t.equal(gw.state.log, key.slice('state/'.length), 'in the same log');
  cloud.logs.clear();
  cloud.refuse('INTERNAL');
  await cloud.until(() => cloud.hellos.length === 3 && cloud.entries('state').length === 2);
  t.not(gw.state.log, key.slice('state/'.length), 'one that forgot the log gets a new one');
});

t.test('a fenced gateway stays fenced, and hands its journal over', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  await gw.settle('c1');
  cloud.refusal = { code: 'GATEWAY_FENCED', message: 'replaced' };
  gw.link.open();
  await cloud.until(() => cloud.entries('state').length === 1);
  t.ok(gw.fence.isFenced());
  t.throws(() => gw.fence.check(), { code: 'GATEWAY_FENCED' });
  await gw.settle('c2');
  await cloud.until(() => cloud.entries('state').length === 2);
  t.equal(cloud.hellos.length, 1);
  await gw.close();
  const again = await gateway();
  t.ok(again.fence.isFenced(), 'also after a restart without a network');
  t.match(again.link.status().fenced, { code: 'GATEWAY_FENCED', message: 'replaced' });
  await again.close();
  const replaced = await gateway({ epoch: 2 });
  t.notOk(replaced.fence.isFenced(), 'until it is enrolled under an epoch of its own');
});

t.test('is fenced by a plan of a later epoch, whatever carried it here', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  gw.link.open();
  await cloud.publish([site(1)], { epoch: 2 });
  await cloud.until(() => cloud.planAnswers.length === 1);
  t.equal(cloud.planAnswers[0]?.refusedCode, 'GATEWAY_FENCED');
  t.ok(gw.fence.isFenced());
  t.equal(gw.plan.current(), undefined);
});

t.test('a clone is told so, is not fenced, and comes back when the other is gone', async (t) => {
  const { cloud, gateway } = await rig(t);
  const gw = await gateway();
  cloud.refusal = { code: 'GATEWAY_CLONED', message: 'another one answers' };
  gw.link.open();
  await cloud.until(() => cloud.hellos.length === 2);
  t.match(gw.link.status(), { connected: false, refusal: { code: 'GATEWAY_CLONED' } });
  t.notOk(gw.fence.isFenced());
  cloud.refusal = undefined;
  await gw.settle('c1');
  await cloud.until(() => cloud.entries('state').length === 1);
  t.equal(gw.link.status().refusal, null);
});

t.test('says nothing to a control plane of another fleet', async (t) => {
  const { gateway, wan } = await rig(t);
  const other = await createTestFleet({ fleet: 'fleet-b' });
  const stranger = await TestCloud.open(other);
  t.teardown(() => stranger.close());
  wan.leadTo(stranger.port);
  const gw = await gateway();
  await gw.settle('c1');
  gw.link.open();
  while (wan.connections < 3) await new Promise((done) => setTimeout(done, 10));
  t.equal(stranger.hellos.length, 0);
  t.equal(gw.link.status().connected, false);
});
