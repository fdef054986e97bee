import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t from 'tap';
import { TestCloud } from './test-cloud.js';
import { openTestGateway } from './test-gateway.js';
import { TestWan } from './test-wan.js';

const rounds = 30;

t.test('a line that flaps: everything arrives, and every effect is there once', async (t) => {
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet, { windowBytes: 32 * 1024, keepaliveMs: 150 });
  const wan = await TestWan.open(cloud.port);
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-flaps-'));
  const gateway = await openTestGateway({
    dir,
    address: wan.address,
    fleet: fleet.fleet,
    site: fleet.site,
    root: fleet.root.certificate,
    tls: (await fleet.gateway('gw-1')).tls,
    welcomeTimeoutMs: 1_000,
    firstRetryMs: 1,
    mostRetryMs: 10,
  });
  t.teardown(async () => {
    await gateway.close();
    await wan.close();
    await cloud.close();
    await rm(dir, { recursive: true });
  });
  gateway.link.open();

  // What a round writes is counted, not timed: a busy machine takes longer for it and does the same.
  let points = 0;
  const telemetry = async (): Promise<void> => {
    for (let batch = 0; batch < 20; batch += 1) {
      const sent = Array.from({ length: 20 }, () => {
        points += 1;
        return {
          device: 'd',
          series: 's',
          ts: points,
          value: Math.random(),
          boot: 'b',
          seq: points,
        };
      });
      await gateway.telemetry.record(sent);
    }
  };
  let states = 0;
  const state = async (): Promise<void> => {
    for (let settled = 0; settled < 10; settled += 1) {
      states += 1;
      await gateway.settle(`c${states}`);
    }
  };
  let orders = 0;
  const commands = async (): Promise<void> => {
    for (let given = 0; given < 4; given += 1) {
      orders += 1;
      const body = { device: 'd', command: `${orders}`, type: 't', payload: null, expires_at: 1 };
      await cloud.give({ kind: 'command', body });
    }
    const name = { display_name: `name ${orders}` };
    await cloud.publish([{ kind: 'site', id: 'site', revision: orders, body: name }]);
  };
  /** Breaks the line after so many messages of a new connection, or before its first. */
  const flap = async (round: number): Promise<void> => {
    if (round % 5 > 0) {
      const heard = cloud.hellos.length;
      wan.flap();
      await cloud.until(() => cloud.hellos.length > heard);
    }
    await cloud.messages(Math.floor(Math.random() * 12));
    if (round % 10 === 9) wan.stall();
    else wan.flap();
  };
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all([telemetry(), state(), commands(), flap(round)]);
  }

  await cloud.until(
    () =>
      cloud.ordersCommitted === orders &&
      gateway.plan.current()?.head.revision === cloud.plan?.head.revision &&
      cloud.entries('state').length >= states &&
      cloud.entries('telemetry').length >= points,
  );
  t.comment(`${wan.connections} connections, ${points} points, ${orders} orders`);
  t.ok(cloud.hellos.length >= rounds, 'it did connect many times');
  const told = cloud.entries('state').map(({ body }) => (body as { campaign: string }).campaign);
  t.same(
    told,
    Array.from({ length: states }, (_, index) => `c${index + 1}`),
  );
  const seqs = cloud.entries('telemetry').map(({ body }) => (body as { seq: number }).seq);
  t.same(
    seqs,
    Array.from({ length: points }, (_, index) => index + 1),
  );
  const audit = cloud.entries('audit').map(({ kind }) => kind);
  t.notOk(
    audit.includes('order_failed'),
    'a second time would have failed: a command is there once',
  );
  const rows = await gateway.store.read.all('SELECT command FROM commands');
  t.equal(rows.length, orders);
  t.equal(cloud.logs.size, 3, 'no log was given up');
});
