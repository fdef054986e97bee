import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CommitQueue, type CommitQueueOptions } from './commit-queue.js';
import { type Database, openDatabase } from './database.js';
import { appendTable } from './write.js';

const events = appendTable('events', ['device', 'body']);
const insertThing = (id: number) => ({ sql: 'INSERT INTO things (id) VALUES (?)', params: [id] });

async function setUp(
  t: Test,
  options?: CommitQueueOptions,
): Promise<{ database: Database; queue: CommitQueue }> {
  const folder = await mkdtemp(join(tmpdir(), 'commit-queue-'));
  const database = await openDatabase({ path: join(folder, 'a.db') });
  await database.exec(
    `CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, body) STRICT;
    CREATE TABLE things (id INTEGER PRIMARY KEY, of_event INTEGER) STRICT;
    CREATE TABLE parts (id INTEGER PRIMARY KEY, thing INTEGER REFERENCES things DEFERRABLE INITIALLY DEFERRED) STRICT;`.replace(
      'body) STRICT',
      'body ANY) STRICT',
    ),
  );
  const queue = new CommitQueue(database, options);
  t.teardown(async () => {
    await queue.close();
    await database.close();
    await rm(folder, { recursive: true });
  });
  return { database, queue };
}

const ids = async (database: Database): Promise<number[]> =>
  (await database.all<{ id: number }>('SELECT id FROM things ORDER BY id')).map(({ id }) => id);

t.test('keeps the order of the calls within a table', async (t) => {
  const { database, queue } = await setUp(t, { maxGroupWrites: 700 });
  const bodies = Array.from({ length: 3_000 }, (_, index) => index);
  await Promise.all(bodies.map((body) => queue.commit([{ into: events, row: ['d', body] }])));
  const rows = await database.all<{ seq: number; body: number }>(
    'SELECT seq, body FROM events ORDER BY seq',
  );
  t.same(
    rows.map(({ body }) => body),
    bodies,
  );
  t.same(
    rows.map(({ seq }) => seq),
    bodies.map((body) => body + 1),
    'without a hole',
  );
});

t.test(
  'a statement that names a table comes after the rows appended before it, and before those after',
  async (t) => {
    const { database, queue } = await setUp(t);
    const append = (body: number) => queue.commit([{ into: events, row: ['d', body] }]);
    await Promise.all([
      append(1),
      queue.commit([insertThing(1)]),
      append(2),
      queue.commit([{ sql: "DELETE FROM events WHERE device = 'd'", expectChanges: 2 }]),
      append(3),
      queue.commit([
        { into: events, row: ['d', 4] },
        { sql: 'UPDATE events SET body = 40 WHERE body = 4', expectChanges: 1 },
      ]),
    ]);
    const rows = await database.all<{ body: number }>('SELECT body FROM events ORDER BY seq');
    t.same(
      rows.map(({ body }) => body),
      [3, 40],
    );
  },
);

t.test('stores every kind of value as it was', async (t) => {
  const { database, queue } = await setUp(t);
  const values = ['', 'grün 💧', 'a\0b', 0, -1, 2 ** 53 - 1, 1.5, null, new Uint8Array([0, 255])];
  await Promise.all(values.map((body) => queue.commit([{ into: events, row: ['d', body] }])));
  const rows = await database.all<{ body: unknown }>('SELECT body FROM events ORDER BY seq');
  t.same(
    rows.map(({ body }) => body),
    [...values.slice(0, -1), Buffer.from([0, 255])],
  );
});

t.test('writes handed in together share few commits', async (t) => {
  const { queue, database } = await setUp(t);
  let commits = 0;
  const { run } = database;
  database.run = (sql, params) => {
    if (sql === 'COMMIT') commits++;
    return run.call(database, sql, params);
  };
  await Promise.all(Array.from({ length: 500 }, (_, id) => queue.commit([insertThing(id)])));
  t.ok(commits <= 2, `${commits} commits`);
});

t.test('a write whose statement fails fails alone, whole', async (t) => {
  const { database, queue } = await setUp(t);
  await queue.commit([insertThing(50)]);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 100 }, (_, id) =>
      queue.commit([{ into: events, row: ['d', id] }, insertThing(id)]),
    ),
  );
  t.same(
    outcomes.flatMap((outcome, id) => (outcome.status === 'rejected' ? [id] : [])),
    [50],
  );
  t.match(outcomes[50], { reason: { code: 'STORE_CONSTRAINT' } });
  const bodies = await database.all<{ seq: number; body: number }>(
    'SELECT seq, body FROM events ORDER BY seq',
  );
  t.equal(bodies.length, 99);
  t.notOk(bodies.some(({ body }) => body === 50));
  t.same(
    bodies.map(({ seq }) => seq),
    bodies.map((_, index) => index + 1),
    'no hole is left',
  );
});

t.test('rows that their table refuses fail alone', async (t) => {
  const { database, queue } = await setUp(t);
  const bad = new Set([0, 77, 78, 199]);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 200 }, (_, id) =>
      queue.commit([insertThing(id), { into: events, row: [bad.has(id) ? null : 'd', id] }]),
    ),
  );
  t.same(new Set(outcomes.flatMap((o, id) => (o.status === 'rejected' ? [id] : []))), bad);
  t.same(
    await ids(database),
    Array.from({ length: 200 }, (_, id) => id).filter((id) => !bad.has(id)),
  );
});

t.test('a write on a stale row is refused with STORE_CONFLICT', async (t) => {
  const { database, queue } = await setUp(t);
  await queue.commit([insertThing(1)]);
  const claim = {
    sql: 'UPDATE things SET of_event = 7 WHERE id = 1 AND of_event IS NULL',
    expectChanges: 1,
  };
  const [first, second] = await Promise.allSettled([
    queue.commit([claim]),
    queue.commit([claim, insertThing(2)]),
  ]);
  t.equal(first?.status, 'fulfilled');
  t.match(second, { reason: { code: 'STORE_CONFLICT', data: { changes: 0, expected: 1 } } });
  t.same(await ids(database), [1]);
});

t.test('a constraint that breaks only at the commit fails its write alone', async (t) => {
  const { database, queue } = await setUp(t);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 32 }, (_, id) =>
      queue.commit(
        id === 20 ? [{ sql: 'INSERT INTO parts (id, thing) VALUES (1, 999)' }] : [insertThing(id)],
      ),
    ),
  );
  t.same(
    outcomes.flatMap((o, id) => (o.status === 'rejected' ? [id] : [])),
    [20],
  );
  t.equal((await ids(database)).length, 31);
});

t.test('a row of the wrong length is refused before it can hurt others', async (t) => {
  const { queue } = await setUp(t);
  await t.rejects(queue.commit([{ into: events, row: ['d'] }]), { code: 'INTERNAL' });
  await queue.commit([{ into: events, row: ['d', 1] }]);
});

t.test('SQL that does not parse fails alone', async (t) => {
  const { queue, database } = await setUp(t);
  const [bad, good] = await Promise.allSettled([
    queue.commit([{ sql: 'INSRT' }]),
    queue.commit([insertThing(1)]),
  ]);
  t.match(bad, { reason: { code: 'INTERNAL' } });
  t.equal(good?.status, 'fulfilled');
  t.same(await ids(database), [1]);
});

t.test('transact sees every write handed in before it, and none after', async (t) => {
  const { queue } = await setUp(t);
  const before = queue.commit([{ into: events, row: ['d', 1] }, insertThing(1)]);
  const seen = queue.transact(async (tx) => {
    await tx.write([{ into: events, row: ['d', 2] }]);
    return tx.get<{ events: number; things: number }>(
      'SELECT (SELECT count(*) FROM events) events, (SELECT count(*) FROM things) things',
    );
  });
  const after = queue.commit([insertThing(2)]);
  await Promise.all([before, after]);
  t.same(await seen, { events: 2, things: 1 });
});

t.test('a transact that throws leaves nothing, and harms nobody', async (t) => {
  const { queue, database } = await setUp(t);
  const outcomes = await Promise.allSettled([
    queue.commit([insertThing(1)]),
    queue.transact(async (tx) => {
      await tx.run('INSERT INTO things (id) VALUES (2)');
      throw new Error('no');
    }),
    queue.transact((tx) => tx.run('INSERT INTO things (id) VALUES (3)')),
    queue.commit([insertThing(4)]),
  ]);
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  );
  t.match(outcomes[1], { reason: { message: 'no' } });
  t.same(await ids(database), [1, 3, 4]);
});

t.test(
  'a write inside a transact that fails is undone whole, and the work may go on',
  async (t) => {
    const { queue, database } = await setUp(t);
    await queue.transact(async (tx) => {
      await tx.run('INSERT INTO things (id) VALUES (1)');
      await t.rejects(tx.write([insertThing(2), insertThing(1)]), { code: 'STORE_CONSTRAINT' });
      await tx.write([insertThing(3)]);
    });
    t.same(await ids(database), [1, 3]);
  },
);

t.test('a transact that hangs is rolled back at its deadline, and the queue goes on', async (t) => {
  const { queue, database } = await setUp(t, { transactTimeoutMs: 20 });
  let late: Promise<unknown> = Promise.resolve();
  const hung = queue.transact(async (tx) => {
    // On a machine with other work the deadline may be over by now.
    await tx.run('INSERT INTO things (id) VALUES (1)').catch(() => undefined);
    await queue.commit([insertThing(9)]).finally(() => {
      late = tx.run('INSERT INTO things (id) VALUES (2)');
      late.catch(() => undefined);
    });
  });
  await t.rejects(hung, { code: 'DEADLINE_EXCEEDED' });
  await queue.commit([insertThing(3)]);
  await t.rejects(late, { code: 'INTERNAL' }, 'a transaction that is over takes nothing');
  t.same(await ids(database), [3, 9]);
});

t.test('calls of a transact made at once run one after the other', async (t) => {
  const { queue } = await setUp(t);
  const answers = await queue.transact((tx) =>
    Promise.all([
      tx.run('INSERT INTO things (id) VALUES (1)'),
      tx.all<{ id: number }>('SELECT id FROM things'),
      tx.run('DELETE FROM things'),
      tx.all<{ id: number }>('SELECT id FROM things'),
    ]),
  );
  t.same(answers, [{ changes: 1 }, [{ id: 1 }], { changes: 1 }, []]);
});

t.test(
  'on a full disk what fits is stored, the rest fails with STORE_FULL, and the queue goes on',
  async (t) => {
    const { queue, database } = await setUp(t);
    const { page_count: pages } = (await database.get<{ page_count: number }>(
      'PRAGMA page_count',
    )) ?? {
      page_count: 0,
    };
    await database.exec(`PRAGMA max_page_count = ${pages + 10}`);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, id) =>
        queue.commit([
          insertThing(id),
          { into: events, row: ['d', 'x'.repeat(id === 9 ? 100_000 : 100)] },
        ]),
      ),
    );
    t.same(
      outcomes.flatMap((outcome, id) => (outcome.status === 'rejected' ? [id] : [])),
      [9],
    );
    t.match(outcomes[9], { reason: { code: 'STORE_FULL' } });
    t.equal((await ids(database)).length, 39);
    const huge = { into: events, row: ['d', 'x'.repeat(100_000)] };
    const all = await Promise.allSettled(Array.from({ length: 500 }, () => queue.commit([huge])));
    t.ok(
      all.every((outcome) => outcome.status === 'rejected' && outcome.reason.code === 'STORE_FULL'),
    );
    await t.rejects(
      queue.transact((tx) => tx.write([huge])),
      { code: 'STORE_FULL' },
    );
    await queue.commit([insertThing(100)]);
    t.equal((await ids(database)).length, 40, 'reads and small writes go on');
  },
);

t.test('makes producers wait when full, and refuses at twice that', async (t) => {
  const { queue } = await setUp(t, { maxPendingBytes: 10_000, maxGroupBytes: 1_000 });
  const body = 'x'.repeat(1_000);
  const commits: Promise<void>[] = [];
  while (!queue.isFull) commits.push(queue.commit([{ into: events, row: ['d', body] }]));
  t.ok(commits.length < 10);
  const aborted = queue.room(AbortSignal.abort(new Error('gone')));
  await t.rejects(aborted, { message: 'gone' });
  const hasRoom = queue.room();
  while (commits.length < 17) commits.push(queue.commit([{ into: events, row: ['d', body] }]));
  await t.rejects(queue.commit([{ into: events, row: ['d', body] }]), { code: 'STORE_OVERLOADED' });
  await hasRoom;
  t.notOk(queue.isFull);
  await Promise.all(commits);
});

t.test('close commits what waits and takes nothing more', async (t) => {
  const { queue, database } = await setUp(t);
  const commits = Array.from({ length: 50 }, (_, id) => queue.commit([insertThing(id)]));
  await Promise.all([queue.close(), queue.close()]);
  t.equal((await ids(database)).length, 50);
  await Promise.all(commits);
  await t.rejects(queue.commit([insertThing(99)]), { code: 'STORE_UNAVAILABLE' });
  await t.rejects(
    queue.transact(async () => 1),
    { code: 'STORE_UNAVAILABLE' },
  );
});
