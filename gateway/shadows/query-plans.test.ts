/** With a hundred thousand shadows a statement that looks at all of them holds everybody up. */
import { type Database, openDatabase } from '@holdfast/provisioning/storage/database';
import { isAppend, type Write } from '@holdfast/provisioning/storage/write';
import t from 'tap';
import {
  cloudWrites,
  desired,
  key,
  openFolder,
  openSite,
  silent,
  update,
} from './shadow-site-fixture.js';
import { ShadowUpkeep } from './shadow-upkeep.js';
import { openShadows } from './shadows.js';

/** Statements about all there is: of bounded tables, at the start or while something is full, by an index alone. */
const wholes = [
  /SELECT COUNT\(\*\) AS count FROM shadow_conflicts/,
  /SELECT COALESCE\(SUM\(bytes\), 0\) AS bytes FROM shadow_changes/,
];

t.test('every statement about shadows finds what it wants by an index', async (t) => {
  const { store, clock } = await openSite(t, await openFolder(t));
  const statements = new Set<string>();
  const watched = (database: Database): Database =>
    new Proxy(database, {
      get(target, name) {
        if (name !== 'get' && name !== 'all') return Reflect.get(target, name);
        return (sql: string, params: readonly (string | number | null)[]) => {
          statements.add(sql);
          return target[name](sql, params);
        };
      },
    });
  const commit = async (write: Write): Promise<void> => {
    for (const part of write) if (!isAppend(part)) statements.add(part.sql);
    await store.commits.commit(write);
  };
  const site = { read: watched(store.read), commit };
  const shadows = await openShadows(
    { site, clock, log: store.log, rules: () => [] },
    { historyBytes: 2_000, maxCachedBytes: 0 },
  );
  const order = (operations: ReturnType<typeof cloudWrites>): Promise<void> =>
    shadows.applyRemote({ device: key.device, shadow: key.name, operations }, commit);
  await shadows.request(update({ desired: { level: 1 }, reported: { level: 2 } }));
  await order(cloudWrites({ leaves: new Map(), lost: new Map() }, 9_000, desired(3)));
  const { conflicts } = await shadows.conflicts();
  t.equal(conflicts.length, 1);
  for (const device of [undefined, key.device]) {
    for (const settled of [true, false]) await shadows.conflicts({ device, settled });
  }
  const settle = { type: 'settle', path: ['desired', 'level'], keep: 'loser' } as const;
  t.match(await shadows.request({ ...key, ...settle, writer: 'site:anna' }), { accepted: true });
  for (let at = 0; at < 20; at += 1) await shadows.request(update({ reported: { level: at } }));
  await shadows.namesOf(key.device);
  await shadows.list(key.device);
  await shadows.conflictLosses();
  const { history } = shadows;
  await history.page(key, { limit: 5 });
  await history.after(key, { version: 1, seq: 0 }, 5);
  await history.end(key);
  await history.begin(key);
  await history.losses();
  await history.pruneToQuota();
  await order(cloudWrites({ leaves: new Map(), lost: new Map() }, 99_000, desired(4)));
  const log = { ...silent, error: (data: object) => t.fail('the upkeep failed', data) };
  const upkeep = new ShadowUpkeep(
    { shadows, site, clock, schedule: () => ({ stop: async () => undefined }), log },
    { historyMs: -99_000, conflictMs: -99_000, maxConflicts: 0 },
  );
  await upkeep.open();
  await upkeep.run();
  await upkeep.close();
  await shadows.request({ ...key, type: 'delete', writer: 'device:pi-1' });

  const plans = await openDatabase({ path: store.read.path, readOnly: true });
  t.teardown(() => plans.close());
  t.ok(statements.size > 15, `${statements.size} statements`);
  for (const sql of statements) {
    if (!sql.includes('shadow')) continue;
    const count = Math.max(
      0,
      ...[...sql.matchAll(/\?(\d*)/g)].map(([, number], at) => Number(number) || at + 1),
    );
    const rows = await plans.all<{ detail: string }>(
      `EXPLAIN QUERY PLAN ${sql}`,
      Array.from({ length: count }, () => null),
    );
    const text = sql.replace(/\s+/g, ' ');
    for (const { detail } of rows) {
      if (wholes.some((whole) => whole.test(sql))) t.notMatch(detail, /SCAN shadows\b/, text);
      else t.notMatch(detail, /SCAN (?!.* USING (COVERING )?INDEX)/, `${text}: ${detail}`);
    }
  }
});
