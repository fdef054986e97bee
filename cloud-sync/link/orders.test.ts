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
  const seal = (most = 500) => engine.write((tx) => orders.seal(tx, 'a', most));
  const append = async (...ids: string[]) => {
    await engine.write((tx) => orders.append(tx, 'a', ids.map(command)));
    await seal();
  };
  const owed = async () =>
    (await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e6 })).map(({ seq, kind, body }) => [
      seq,
      kind === 'resupplied' ? kind : JSON.parse(body).command,
    ]);
  const chainAt = async (seq: number) =>
    (await readOrders(engine.read, 'a', { after: seq - 1, maxBytes: 1 }))[0]?.chain ?? '';
  const meet = async (gateway: { log: string; seq: number; chain?: string }) => {
    const lane = await engine.write((tx) => orders.meet(tx, 'a', { chain: '', ...gateway }));
    await seal();
    return lane;
  };
  return { seal, engine, signals, orders, append, owed, chainAt, meet };
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
  t.match(anew, { acknowledgedSeq: 0, lastSeq: 1 });
  t.same(
    await owed(),
    [
      [1, '3'],
      [2, 'whole state'],
      [3, 'resupplied'],
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
  t.same(await owed(), [
    [1, '1'],
    [2, 'resupplied'],
  ]);
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
      ['of the backup', 'since the restore', 'and another', 'whole state', 'resupplied'],
    );
    const last = await chainAt(5);
    t.match(await meet({ log: anew.log, seq: 5, chain: last }), { log: anew.log });
    t.same(await owed(), []);
  },
);

const edit = (device: string, leaf: string, value: number, more: object = {}): NewOrder => ({
  kind: 'shadow',
  body: {
    device,
    shadow: '-',
    operations: [
      {
        path: ['desired', leaf],
        value,
        stamp: { wall: value, counter: 0, replica: 'cloud', writer: 'cloud:ann' },
      },
    ],
    ...more,
  },
});

t.test('a site that is away gets what came of many edits, once', async (t) => {
  const { engine, orders, seal } = await open(t);
  const add = (...added: NewOrder[]) => engine.write((tx) => orders.append(tx, 'a', added));
  const shown = async () =>
    (await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e6 })).map(({ kind, body }) => {
      const { device, operations, ...rest } = JSON.parse(body);
      return kind === 'command'
        ? `command to ${device}`
        : [
            device,
            ...operations.map(
              ({ path, value }: { path: string[]; value: number }) => `${path[1]}=${value}`,
            ),
            ...Object.keys(rest).filter((key) => key !== 'shadow'),
          ].join(' ');
    });
  for (let value = 1; value <= 50; value += 1) {
    await add(edit('d', 'mode', value), edit('e', value % 2 ? 'odd' : 'even', value));
  }
  // What an order lets the site forget is forgotten before what follows is merged.
  await add(edit('f', 'a', 1, { dead: [] }), edit('f', 'a', 2), edit('f', 'b', 3));
  await add(edit('g', 'a', 1, { deleted: true }), edit('g', 'a', 2));
  await seal();
  t.same(await shown(), ['d mode=50', 'e odd=49 even=50', 'f a=1 dead', 'f a=2 b=3', 'g a=2']);
  await add(edit('d', 'mode', 51));
  await seal();
  t.equal((await shown()).at(-1), 'd mode=51', 'what has its number is changed no more');
});

t.test('what waits for a site is merged into no more than its gateway takes at once', async (t) => {
  const { engine, orders, seal } = await open(t);
  for (let at = 0; at < 20; at += 1) {
    const order = edit('d', `${at}`.padEnd(28_000, 'x'), at);
    await engine.write((tx) => orders.append(tx, 'a', [order]));
  }
  await seal();
  const bodies = (await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e9 })).map(
    ({ body }) => body,
  );
  t.ok(bodies.every(({ length }) => length < 140_000));
  const values = bodies.flatMap((body) =>
    JSON.parse(body).operations.map(({ value }: { value: number }) => value),
  );
  t.same(
    values,
    Array.from({ length: 20 }, (_, at) => at),
  );
});

t.test(
  'commands go before what waits, after what was made before them for their device',
  async (t) => {
    const { engine, orders, seal, owed, chainAt } = await open(t);
    const add = (...added: NewOrder[]) => engine.write((tx) => orders.append(tx, 'a', added));
    for (let at = 1; at <= 20; at += 1) await add(edit(`x${at}`, 'a', at));
    await add(edit('d', 'mode', 30), command('1'), edit('d', 'mode', 31), edit('d', 'mode', 32));
    await seal(3);
    const first = await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e6 });
    t.match(
      first.map(({ body }) => JSON.parse(body)),
      [{ device: 'd', operations: [{ value: 30 }] }, { command: '1' }, { device: 'x1' }],
    );
    await add(command('2'));
    while ((await seal(7)) > 0);
    const all = await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e6 });
    t.match(
      all.slice(3, 5).map(({ body }) => JSON.parse(body)),
      [{ device: 'd', operations: [{ value: 32 }] }, { command: '2' }],
    );
    t.equal(all.length, 24);
    t.same(
      all.map(({ seq }) => seq),
      all.map((_, at) => at + 1),
    );
    t.equal((await owed()).length, 24);
    t.equal(new Set(await Promise.all(all.map(({ seq }) => chainAt(seq)))).size, 24);
  },
);
