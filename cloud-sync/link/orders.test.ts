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
  const chainAt = async (seq: number) =>
    (await readOrders(engine.read, 'a', { after: seq - 1, maxBytes: 1 }))[0]?.chain ?? '';
  const meet = (gateway: { log: string; seq: number; chain?: string }) =>
    engine.write((tx) => orders.meet(tx, 'a', { chain: '', ...gateway }));
  return { engine, signals, orders, append, owed, chainAt, meet };
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
  const { append, owed, chainAt, meet } = await open(t);
  const { log } = await meet({ log: '', seq: 0 });
  await append('1', '2', '3');
  const chain = await chainAt(2);
  t.match(await meet({ log, seq: 2, chain }), { log, acknowledgedSeq: 2, lastSeq: 3 });
  t.same(await owed(), [[3, '3']]);
  t.match(
    await meet({ log, seq: 2, chain }),
    { log, acknowledgedSeq: 2 },
    'again, with none since',
  );
});

t.test('a site that lost what it had gets a new log and is resupplied', async (t) => {
  const { append, owed, chainAt, meet, orders } = await open(t);
  orders.onResupply('shadow', (tx, site) => orders.append(tx, site, [command('whole state')]));
  const { log } = await meet({ log: '', seq: 0 });
  await append('1', '2', '3');
  await meet({ log, seq: 2, chain: await chainAt(2) });
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

t.test(
  'a control plane that was restored and gave numbers out again skips none of the orders',
  async (t) => {
    const { append, owed, chainAt, meet, orders } = await open(t);
    orders.onResupply('shadow', (tx, site) => orders.append(tx, site, [command('whole state')]));
    const before = await meet({ log: '', seq: 0 });
    await append('of the backup', 'since the restore', 'and another');
    // The site has another order under the second number; of the first it has the same.
    const chain = 'ab'.repeat(32);
    const anew = await meet({ log: before.log, seq: 2, chain });
    t.not(anew.log, before.log);
    t.same(
      (await owed()).map(([, id]) => id),
      ['of the backup', 'since the restore', 'and another', 'whole state'],
    );
    const last = await chainAt(4);
    t.match(await meet({ log: anew.log, seq: 4, chain: last }), { log: anew.log });
    t.same(await owed(), []);
  },
);
