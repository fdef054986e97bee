import { collectAtSite } from '@holdfast/protos/semantics/shadow-collection';
import type { ShadowPatch } from '@holdfast/protos/semantics/shadow-document';
import { editsOf, renderShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  idOf,
  latestTime,
  mintOperations,
  type ShadowOperation,
  type ShadowState,
  type ShadowWriteId,
} from '@holdfast/protos/semantics/shadow-merge';
import { takeLost } from '@holdfast/protos/semantics/shadow-resupply';
import * as fc from 'fast-check';
import t from 'tap';
import { StandInLog } from '../testing/gateway-stand-in.js';
import { type StoreUnderTest, storeUnderTest } from '../testing/store-under-test.js';
import { changeShadow } from './change-shadow.js';
import { registerShadowEffects } from './shadow-effects.js';
import { readShadow } from './shadow-records.js';
import { deleteShadow, writePatch } from './shadow-replica.js';

interface ShadowBody {
  readonly operations: readonly ShadowOperation[];
  readonly dead?: readonly ShadowWriteId[];
  readonly lost?: readonly ShadowOperation[];
  readonly deleted?: boolean;
}

const key = { site: 'a', device: 'd', shadow: '-', writer: 'cloud:ann' };

/** The other replica, by the rules that a site's gateway follows. */
class Peer {
  state: ShadowState = emptyShadow;
  readonly replica: string;
  /** What it has written and not yet handed over. */
  readonly outbox: ShadowBody[] = [];

  constructor(replica: string) {
    this.replica = replica;
  }

  write(writer: string, patch: ShadowPatch, now: number): void {
    const operations = mintOperations(this.state, editsOf(this.state, patch), {
      replica: this.replica,
      writer,
      seen: latestTime([...this.state.leaves.values(), ...this.state.lost.values()]),
      clock: { now, trusted: true },
    });
    this.#keep(applyOperations(this.state, operations), [], operations);
  }

  receive({ operations, dead = [], lost = [] }: ShadowBody): void {
    this.#keep(takeLost(applyOperations(this.state, operations), lost), dead, []);
  }

  #keep(
    merged: ShadowState,
    told: readonly ShadowWriteId[],
    operations: readonly ShadowOperation[],
  ): void {
    const { state, dead } = collectAtSite(merged, told, this.replica);
    this.state = state;
    if (operations.length + dead.length > 0) this.outbox.push({ operations, dead });
  }
}

const open = async (t: Parameters<typeof storeUnderTest>[0]) => {
  let now = 1_000;
  const store = await storeUnderTest(t, { now: () => now });
  registerShadowEffects(store);
  let delivered = 0;
  return {
    ...store,
    tick: () => {
      now += 1;
      return now;
    },
    state: async () => (await readShadow(store.engine.read, key)).state,
    write: (desired: ShadowPatch['desired'] & object) =>
      store.engine.write((tx) =>
        changeShadow(store, tx, key, (before, context) => writePatch(before, { desired }, context)),
      ),
    remove: () => store.engine.write((tx) => changeShadow(store, tx, key, deleteShadow)),
    /** Hands what the peer wrote over, then gives it the orders that it does not have. */
    exchange: async (peer: Peer, log: StandInLog, options?: { isFenced: boolean }) => {
      const bodies = peer.outbox.splice(0);
      if (bodies.length > 0) {
        const entries = bodies.map((body) => ({
          kind: 'shadow',
          body: { device: key.device, shadow: key.shadow, ...body },
        }));
        await store.ingest(await log.batch(entries), options);
      }
    },
    deliver: async (peer: Peer) => {
      const orders = await store.owed();
      for (const { body } of orders.slice(delivered)) peer.receive(body as unknown as ShadowBody);
      delivered = orders.length;
    },
  };
};
type Opened = Awaited<ReturnType<typeof open>>;

const settle = async (cloud: Opened, peer: Peer, log: StandInLog): Promise<void> => {
  // Each may owe the other what it can forget; that ends.
  for (let round = 0; round < 4; round += 1) {
    await cloud.deliver(peer);
    await cloud.exchange(peer, log);
  }
  await cloud.deliver(peer);
  t.equal(peer.outbox.length, 0);
};

const leavesOf = (state: ShadowState) => [...state.leaves.values()].map(idOf).sort();
const losersOf = (state: ShadowState) =>
  conflictsOf(state)
    .map(({ loser }) => idOf(loser))
    .sort();

const firstDevice = (store: StoreUnderTest) =>
  store.engine.write(({ db }) =>
    db
      .insertInto('devices')
      .values({
        site_id: 'a',
        device_id: 'd',
        model: '',
        serial_no: '',
        firmware_version: null,
        online: 0,
        last_seen_at: null,
        enrolled_at: null,
        door: 'native',
        labels: '{}',
        certificate_serial: null,
        version: 1,
      })
      .onConflict((c) => c.doNothing())
      .execute(),
  );

const leaf = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  fc.constant(null),
  fc.record({ x: fc.integer({ min: 0, max: 3 }) }),
  fc.constant({ x: null }),
);
const section = fc.dictionary(fc.constantFrom('a', 'b', 'c'), leaf, { minKeys: 1, maxKeys: 3 });
const action = fc.oneof(
  fc.record({ type: fc.constant('cloud writes' as const), patch: section }),
  fc.record({ type: fc.constant('cloud deletes' as const) }),
  fc.record({ type: fc.constant('device reports' as const), patch: section }),
  fc.record({ type: fc.constant('person desires' as const), patch: section }),
  fc.record({ type: fc.constant('orders arrive' as const) }),
  fc.record({ type: fc.constant('journal arrives' as const) }),
);

t.test('both ends come to the same, whatever is written where in whatever order', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
      const teardowns: (() => unknown)[] = [];
      const cloud = await open({ teardown: (end) => teardowns.push(end) });
      try {
        await firstDevice(cloud);
        const peer = new Peer('site');
        const log = new StandInLog('state');
        for (const step of actions) {
          const now = cloud.tick();
          if (step.type === 'cloud writes') await cloud.write(step.patch);
          else if (step.type === 'cloud deletes') await cloud.remove();
          else if (step.type === 'device reports') {
            peer.write('device:d', { reported: step.patch }, now);
          } else if (step.type === 'person desires') {
            peer.write('site:ann', { desired: step.patch }, now);
          } else if (step.type === 'orders arrive') await cloud.deliver(peer);
          else await cloud.exchange(peer, log);
        }
        await settle(cloud, peer, log);
        const state = await cloud.state();
        t.same(renderShadow(state), renderShadow(peer.state));
        t.same(leavesOf(state), leavesOf(peer.state), 'nor does either keep more');
        t.same(losersOf(state), losersOf(peer.state));
        const listed = await cloud.engine.read
          .selectFrom('shadow_conflicts')
          .select('conflict_id')
          .where('is_open', '=', 1)
          .execute();
        t.equal(listed.length, conflictsOf(state).length);
      } finally {
        for (const end of teardowns) await end();
      }
    }),
    { numRuns: 40 },
  );
});

t.test('gives a site that lost its database everything, and takes its new log', async (t) => {
  const cloud = await open(t);
  await firstDevice(cloud);
  const lost = new Peer('lost');
  const lostLog = new StandInLog('state');
  lost.write('device:d', { reported: { temp: 20 } }, cloud.tick());
  await cloud.exchange(lost, lostLog);
  await cloud.write({ interval: 5 });
  await cloud.deliver(lost);
  const before = await cloud.state();

  await cloud.engine.write((tx) => cloud.orders.resupply(tx, 'a'));
  const rebuilt = new Peer('rebuilt');
  rebuilt.write('device:d', { reported: { temp: 21 } }, cloud.tick());
  await settle(cloud, rebuilt, new StandInLog('state'));
  t.same(renderShadow(rebuilt.state).state, { desired: { interval: 5 }, reported: { temp: 21 } });
  t.same(renderShadow(await cloud.state()), renderShadow(rebuilt.state));
  t.not(before.leaves.size, 0);
});

t.test('merges what is sent again without a trace', async (t) => {
  const cloud = await open(t);
  const peer = new Peer('site');
  peer.write('device:d', { reported: { temp: 20, on: true } }, cloud.tick());
  peer.write('device:d', { reported: { temp: 21 } }, cloud.tick());
  const [first, second] = peer.outbox;
  await cloud.exchange(peer, new StandInLog('state'));
  const { version } = await readShadow(cloud.engine.read, key);
  const owed = (await cloud.owed()).length;
  peer.outbox.push(...(first && second ? [first, second] : []));
  await cloud.exchange(peer, new StandInLog('state'));
  t.equal((await readShadow(cloud.engine.read, key)).version, version);
  t.equal((await cloud.owed()).length, owed);
});

t.test('passes on to the owner of the site what a fenced gateway still had', async (t) => {
  const cloud = await open(t);
  const fenced = new Peer('fenced');
  const owner = new Peer('owner');
  fenced.write('device:d', { reported: { temp: 20 } }, cloud.tick());
  await cloud.exchange(fenced, new StandInLog('state'), { isFenced: true });
  await settle(cloud, owner, new StandInLog('state'));
  t.same(renderShadow(owner.state).state, { reported: { temp: 20 } });
});

t.test('keeps entries that are none of its own to read', async (t) => {
  const cloud = await open(t);
  const good = {
    path: ['reported', 'a'],
    value: 1,
    stamp: { wall: 1, counter: 0, replica: 's', writer: 'device:d' },
  };
  const batch = await new StandInLog('state').batch([
    { kind: 'shadow', body: { device: 'a/b', shadow: '-', operations: [good] } },
    { kind: 'shadow', body: { device: 'd', shadow: '', operations: [good] } },
    { kind: 'shadow', body: { device: 'd', shadow: '-', operations: [{ ...good, path: ['x'] }] } },
    { kind: 'shadow', body: { device: 'd', shadow: '-', operations: [good] } },
  ]);
  t.equal(await cloud.ingest(batch), 'committed');
  const kept = await cloud.engine.read.selectFrom('journal').select(['seq', 'problem']).execute();
  t.same(
    kept.map(({ seq }) => seq),
    [1, 2, 3],
  );
  t.same(renderShadow(await cloud.state()).state, { reported: { a: 1 } });
});

t.test('a large shadow is resupplied in orders that a gateway takes', async (t) => {
  const cloud = await open(t);
  await firstDevice(cloud);
  for (let at = 0; at < 20; at += 1) await cloud.write({ [`leaf-${at}`]: 'x'.repeat(28_000) });
  await cloud.engine.write((tx) => cloud.orders.supplyAnew(tx, 'a'));
  const orders = await cloud.owed();
  t.ok(orders.every(({ body }) => JSON.stringify(body).length < 140_000));
  const peer = new Peer('anew');
  await cloud.deliver(peer);
  t.same(leavesOf(peer.state), leavesOf(await cloud.state()));
});
