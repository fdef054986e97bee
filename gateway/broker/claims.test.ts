/** What happens when a session is claimed by two at once, or cannot be stored. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Write } from '@holdfast/provisioning/storage/write';
import t, { type Test } from 'tap';
import { openSiteStore, silent } from './broker-fixture.js';
import { defaultLimits } from './broker-limits.js';
import { loadBrokerRows } from './load-broker-rows.js';
import type { Outlet } from './session.js';
import { cleanSession, lastingSession, SessionRegistry } from './session-registry.js';

class TestOutlet implements Outlet {
  readonly isCongested = false;
  cutFor: string | undefined;
  readonly receiveMaximum = 65_535;
  publish(): boolean {
    return true;
  }
  publishOnce(): boolean {
    return true;
  }
  release(): void {
    // Nothing is looked at here.
  }
  mayReceive(): boolean {
    return true;
  }
  cut(reason: string): void {
    this.cutFor = reason;
  }
}

const openRegistry = async (test: Test) => {
  const store = await openSiteStore(test);
  let fails = 0;
  let gate: Promise<void> | undefined;
  const commit = async (write: Write): Promise<void> => {
    await gate;
    if (fails > 0) {
      fails -= 1;
      throw new HoldfastError('STORE_FULL', 'The disk is full');
    }
    await store.commits.commit(write);
  };
  const commits = Object.assign(Object.create(store.commits), { commit });
  const dropped: unknown[] = [];
  const open = () =>
    new SessionRegistry(
      {
        store: { read: store.read, commits },
        log: silent,
        now: () => 1,
        elapsed: () => 0,
        onDropped: (event) => dropped.push(event),
      },
      defaultLimits,
    );
  const registry = open();
  return {
    store,
    registry,
    failNext: (count: number) => {
      fails = count;
    },
    hold: () => {
      let release = (): void => undefined;
      gate = new Promise((resolve) => {
        release = resolve;
      });
      return () => {
        gate = undefined;
        release();
      };
    },
    restarted: async () => {
      const next = open();
      next.restore(await loadBrokerRows(store));
      return next;
    },
  };
};

t.test('two that claim one new session at once get it one after the other, stored', async (t) => {
  const { registry, store, hold } = await openRegistry(t);
  const outlets = [new TestOutlet(), new TestOutlet()];
  const release = hold();
  const order: string[] = [];
  const claims = outlets.map(async (outlet, at) => {
    const session = await registry.claim('pump-1', 'pump-1', lastingSession, outlet);
    const rows = await store.read.all('SELECT key FROM mqtt_sessions');
    order.push(`${at}: ${rows.length} stored`);
    return session;
  });
  release();
  const [first, second] = await Promise.all(claims);
  t.same(order, ['0: 1 stored', '1: 1 stored'], 'nobody has it before it is on disk');
  t.equal(first, second, 'it is one session');
  t.equal(second?.holder, outlets[1], 'the later one has it');
  t.same(
    outlets.map(({ cutFor }) => cutFor),
    ['TAKEN_OVER', undefined],
  );
});

t.test(
  'a session that could not be stored is nobody’s, and the next claim stores it',
  async (t) => {
    const { registry, failNext, restarted } = await openRegistry(t);
    failNext(1);
    const [first, second] = await Promise.allSettled([
      registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet()),
      registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet()),
    ]);
    t.equal(first.status, 'rejected');
    if (second.status !== 'fulfilled') throw second.reason;
    await registry.subscribe(second.value, { filter: 'dt/pump-1/#', qos: 1 });
    const again = await restarted();
    t.same(
      [...(again.get('pump-1')?.subscriptions.keys() ?? [])],
      ['dt/pump-1/#'],
      'it is on disk',
    );
  },
);

t.test('a clean session that cannot be begun leaves the persistent one as it was', async (t) => {
  const { registry, failNext } = await openRegistry(t);
  const before = await registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet());
  await registry.subscribe(before, { filter: 'dt/pump-1/#', qos: 1 });
  failNext(1);
  await t.rejects(registry.claim('pump-1', 'pump-1', cleanSession, new TestOutlet()), {
    code: 'STORE_FULL',
  });
  const back = await registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet());
  t.same([...back.subscriptions.keys()], ['dt/pump-1/#'], 'what is on disk is what is known');
  t.equal(registry.index.subscribersOf('dt/pump-1/x').length, 1);
});

t.test('a subscription that cannot be changed stays what it was', async (t) => {
  const { registry, failNext } = await openRegistry(t);
  const session = await registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet());
  await registry.subscribe(session, { filter: 'dt/pump-1/#', qos: 1 });
  failNext(1);
  await t.rejects(registry.subscribe(session, { filter: 'dt/pump-1/#', qos: 2 }), {
    code: 'STORE_FULL',
  });
  t.equal(session.subscriptions.get('dt/pump-1/#')?.qos, 1);
  t.match(registry.index.subscribersOf('dt/pump-1/x'), [{ qos: 1 }]);
});

t.test('the sessions of one service are bounded as those of a device are', async (t) => {
  const { registry, store } = await openRegistry(t);
  for (let at = 0; at < defaultLimits.sessionsPerService + 5; at += 1) {
    const outlet = new TestOutlet();
    const session = await registry.claim(`service/meter/c${at}`, null, lastingSession, outlet);
    session.detach(outlet);
  }
  await registry.claim('service/other/c', null, lastingSession, new TestOutlet());
  const rows = await store.read.all<{ n: number }>('SELECT count(*) n FROM mqtt_sessions');
  t.same(rows, [{ n: defaultLimits.sessionsPerService + 1 }]);
});

t.test('a session that never expires is gone on with, however time runs meanwhile', async (t) => {
  const store = await openSiteStore(t);
  let elapsed = 0;
  // Every look at it finds it later than the one before.
  const time = { now: () => 1, elapsed: () => (elapsed += 1_000) };
  const deps = { store, log: silent, ...time, onDropped: () => undefined };
  const registry = new SessionRegistry(deps, defaultLimits);
  const outlet = new TestOutlet();
  const session = await registry.claim('pump-1', 'pump-1', lastingSession, outlet);
  session.detach(outlet);
  registry.leave(session);
  t.equal(await registry.claim('pump-1', 'pump-1', lastingSession, new TestOutlet()), session);
  await registry.close();
});
