import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PlanHead } from '@holdfast/protos/link/plan-documents';
import t from 'tap';
import { Signals } from '../bus/signals.js';
import { openEmbeddedEngine } from '../store/embedded-engine.js';
import type { PlanContent } from './plan-documents.js';
import { PlanPublisher } from './plan-publisher.js';
import { insertSite } from './site-records.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const dayMs = 86_400_000;
const campaign = (id: string, name: string): PlanContent => ({
  kind: 'site',
  id,
  body: { display_name: name },
});

const open = async (t: { teardown(end: () => unknown): unknown }) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-plan-'));
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log });
  const clock = { now: 1_000 };
  const heads: PlanHead[] = [];
  let documents: readonly PlanContent[] = [campaign('x', '1')];
  const broken = new Set<string>();
  const publisher = () => {
    const plans = new PlanPublisher(
      {
        engine,
        signals: new Signals(),
        now: () => clock.now,
        log,
        sign: async (head) => {
          heads.push(head);
          return `signed ${head.revision}`;
        },
      },
      { fleet: 'f', lifetimeMs: 90 * dayMs },
    );
    plans.register(async (_, site) => {
      if (broken.has(site)) throw new Error('nothing can be said of this site');
      return documents;
    });
    return plans;
  };
  t.teardown(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });
  await engine.write((tx) => insertSite(tx, { site: 'a', displayName: 'a', now: 1 }));
  const setEpoch = (epoch: number) =>
    engine.write(async ({ db }) => {
      await db.updateTable('sites').set({ epoch }).execute();
    });
  return {
    engine,
    broken,
    clock,
    heads,
    publisher,
    setEpoch,
    set: (next: readonly PlanContent[]) => {
      documents = next;
    },
  };
};

t.test('publishes what is new, and nothing when nothing is', async (t) => {
  const { engine, heads, publisher, set, setEpoch } = await open(t);
  const plans = publisher();
  await engine.write((tx) => plans.request(tx, ['a']));
  await plans.publish('a');
  t.equal(heads.length, 0, 'there is no gateway yet');
  await setEpoch(1);
  await plans.publish('a');
  await plans.publish('a');
  t.match(heads, [{ revision: 1, epoch: 1, documents: [{ id: 'x', revision: 1 }] }]);
  t.equal(heads.length, 1);
  set([campaign('x', '1'), campaign('y', '1')]);
  await plans.publish('a');
  t.same(
    heads[1]?.documents.map(({ id, revision }) => [id, revision]),
    [
      ['x', 1],
      ['y', 2],
    ],
    'what did not change keeps its revision',
  );
  set([campaign('y', '2')]);
  await plans.publish('a');
  t.same(
    heads[2]?.documents.map(({ id, revision }) => [id, revision]),
    [['y', 3]],
    'what is left out is gone',
  );
  const stored = await engine.read
    .selectFrom('plan_documents')
    .select(['id', 'revision'])
    .execute();
  t.same(stored, [{ id: 'y', revision: 3 }]);
  await setEpoch(2);
  await plans.publish('a');
  t.match(heads[3], { epoch: 2, revision: 4 });
});

t.test('many requests at once make few plans, the last of which holds every change', async (t) => {
  const { heads, publisher, set, setEpoch, engine } = await open(t);
  await setEpoch(1);
  const plans = publisher();
  await engine.write((tx) => plans.request(tx, ['a']));
  const published = [];
  for (let count = 1; count <= 20; count += 1) {
    set([campaign('x', String(count))]);
    published.push(plans.publish('a'));
  }
  await Promise.all(published);
  await plans.publish('a');
  t.ok(heads.length <= 3, `${heads.length} plans`);
  const last = await engine.read.selectFrom('plan_documents').select('content').execute();
  t.match(last[0]?.content, /"display_name":"20"/);
});

t.test('a plan that was asked for before a crash is published at the next start', async (t) => {
  const { engine, heads, publisher, setEpoch } = await open(t);
  await setEpoch(1);
  const before = publisher();
  // As if the process had ended right after the commit.
  await engine.write(async (tx) => {
    await before.request({ db: tx.db, afterCommit: () => undefined }, ['a']);
  });
  t.equal(heads.length, 0);
  await publisher().publishDue();
  t.equal(heads.length, 1);
});

t.test(
  'issues a plan anew twice a day, so that its age says how long a site heard nothing',
  async (t) => {
    const { clock, engine, heads, publisher, setEpoch } = await open(t);
    await setEpoch(1);
    const plans = publisher();
    await engine.write((tx) => plans.request(tx, ['a']));
    await plans.publish('a');
    clock.now += (11 / 24) * dayMs;
    await plans.publishDue();
    t.equal(heads.length, 1);
    clock.now += (2 / 24) * dayMs;
    await plans.publishDue();
    t.match(heads[1], { revision: 2, expires_at: clock.now + 90 * dayMs });
    t.same(heads[1]?.documents, heads[0]?.documents);
  },
);

t.test('sites whose plans cannot be made keep none from the others', async (t) => {
  const { broken, engine, heads, publisher, setEpoch } = await open(t);
  // More than are composed at once, and before the one that can be.
  for (let count = 10; count < 40; count += 1) broken.add(`a${count}`);
  const sites = ['a', ...broken, 'b'];
  for (const site of sites.slice(1)) {
    await engine.write((tx) => insertSite(tx, { site, displayName: site, now: 1 }));
  }
  await setEpoch(1);
  const before = publisher();
  await engine.write((tx) => before.request({ db: tx.db, afterCommit: () => undefined }, sites));
  await publisher().publishDue();
  t.same(heads.map(({ site }) => site).sort(), ['a', 'b']);
});
