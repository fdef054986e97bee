import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Signals } from '../bus/signals.js';
import { insertSite } from '../sites/site-records.js';
import { openEmbeddedEngine } from '../store/embedded-engine.js';
import { type NewOrder, Orders, readOrders } from './orders.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const command = (id: string): NewOrder => ({
  kind: 'command',
  body: { device: 'd', command: id, type: 't', payload: 'x'.repeat(100), expires_at: 9 },
});

const open = async (t: { teardown(end: () => unknown): unknown }) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-orders-'));
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log });
  t.teardown(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });
  const signals = new Signals();
  const orders = new Orders({ signals, now: () => 1 });
  await engine.write((tx) => insertSite(tx, { site: 'a', displayName: 'a', now: 1 }));
  const append = (...ids: string[]) =>
    engine.write((tx) => orders.append(tx, 'a', ids.map(command)));
  const owed = async () =>
    (await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e6 })).map(({ seq, body }) => [
      seq,
      JSON.parse(body).command,
    ]);
  const meet = (gateway: { log: string; seq: number }) =>
    engine.write((tx) => orders.meet(tx, 'a', gateway));
  return { engine, signals, orders, append, owed, meet };
};

t.test(
  'numbers orders with the change that they carry, and tells of them after its commit',
  async (t) => {
    const { engine, signals, orders, append, owed } = await open(t);
    let told = 0;
    signals.subscribe('orders:a', () => {
      told += 1;
    });
    await append('1', '2');
    await engine
      .write(async (tx) => {
        await orders.append(tx, 'a', [command('never')]);
        throw new Error('no');
      })
      .catch(() => undefined);
    await append('3');
    t.same(await owed(), [
      [1, '1'],
      [2, '2'],
      [3, '3'],
    ]);
    t.equal(told, 2);
    const few = await readOrders(engine.read, 'a', { after: 0, maxBytes: 1 });
    t.equal(few.length, 1, 'one at least, however small the room');
  },
);

t.test('goes on where the site stands; what it has committed is done with', async (t) => {
  const { append, owed, meet } = await open(t);
  const { log } = await meet({ log: '', seq: 0 });
  await append('1', '2', '3');
  t.match(await meet({ log, seq: 2 }), { log, acknowledgedSeq: 2, lastSeq: 3 });
  t.same(await owed(), [[3, '3']]);
});

t.test('a site that lost what it had gets a new log and is resupplied', async (t) => {
  const { append, owed, meet, orders } = await open(t);
  orders.onResupply((tx, site) => orders.append(tx, site, [command('whole state')]));
  const { log } = await meet({ log: '', seq: 0 });
  await append('1', '2', '3');
  await meet({ log, seq: 2 });
  const anew = await meet({ log: '', seq: 0 });
  t.not(anew.log, log);
  t.match(anew, { acknowledgedSeq: 0, lastSeq: 2 });
  t.same(
    await owed(),
    [
      [1, '3'],
      [2, 'whole state'],
    ],
    'only what was still owed, numbered from 1',
  );
});

t.test('a site ahead of us means that we were restored: a new log begins', async (t) => {
  const { append, owed, meet } = await open(t);
  const { log } = await meet({ log: '', seq: 0 });
  await append('1');
  const anew = await meet({ log, seq: 90 });
  t.not(anew.log, log);
  t.same(await owed(), [[1, '1']]);
});
