import fc from 'fast-check';
import t from 'tap';
import { collectDead, deadFromOthers } from './forget-operations.js';
import { zeroTime } from './hybrid-clock.js';
import { renderShadow } from './shadow-document.js';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  latestTime,
  mergeShadows,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
  type ShadowWriteId,
} from './shadow-merge.js';
import { checkMergeLaws } from './shadow-merge-laws.js';

/** What `replica` writes at `now` on a state, by a clock that is right. */
const write = (
  state: ShadowState,
  replica: string,
  now: number,
  ...edits: readonly ShadowEdit[]
): ShadowOperation[] =>
  mintOperations(state, edits, {
    replica,
    writer: replica,
    seen: latestTime(state.leaves.values()),
    clock: { now, trusted: true },
  });

t.test('keeps the laws of the merge over any run of three replicas', async (t) => {
  const seed = Date.now() % 2_147_483_647;
  t.comment(`seed ${seed}`);
  checkMergeLaws(500, seed);
});

t.test('objects merge, and a write erases what is above and below it', async (t) => {
  const a = ['desired', 'a'];
  let state = emptyShadow;
  const apply = (...edits: readonly ShadowEdit[]) => {
    state = applyOperations(state, write(state, 'site', 1_000, ...edits));
    return renderShadow(state).state;
  };
  t.same(apply({ path: [...a, 'x'], value: 1 }, { path: [...a, 'y'], value: [1, 2] }), {
    desired: { a: { x: 1, y: [1, 2] } },
  });
  t.same(apply({ path: [...a, 'y'] }), { desired: { a: { x: 1 } } });
  t.same(apply({ path: a, value: 5 }), { desired: { a: 5 } });
  t.same(apply({ path: [...a, 'z'], value: 6 }), { desired: { a: { z: 6 } } });
  t.same(apply({ path: [...a, 'z'] }), {}, 'a deletion does not bring back what was above');
  t.same(conflictsOf(state), []);
});

t.test(
  'of two writes unseen by each other the later wins, and both ends name the other',
  async (t) => {
    const path = ['desired', 'interval'];
    const base = write(emptyShadow, 'cloud', 1, { path, value: 10 });
    const start = applyOperations(emptyShadow, base);
    const atSite = write(start, 'site', 2_000, { path, value: 20 });
    const inCloud = write(start, 'cloud', 3_000, { path, value: 30 });
    for (const order of [
      [atSite, inCloud],
      [inCloud, atSite],
    ]) {
      const state = order.reduce(applyOperations, start);
      t.same(renderShadow(state).state, { desired: { interval: 30 } });
      t.match(conflictsOf(state), [
        {
          path,
          winner: { value: 30, stamp: { writer: 'cloud' } },
          loser: { value: 20, stamp: { writer: 'site', wall: 2_000 } },
        },
      ]);
      const settled = applyOperations(state, write(state, 'site', 4_000, { path, value: 25 }));
      t.same(conflictsOf(settled), [], 'who writes over both has seen both');
    }
  },
);

t.test(
  'a replica that lost its memory takes its peer’s state, and what it wrote since is not lost',
  async (t) => {
    const path = ['desired', 'a'];
    const atPeer = applyOperations(
      emptyShadow,
      write(emptyShadow, 'site-old', 5_000, { path, value: 1 }),
    );
    const [operation] = mintOperations(emptyShadow, [{ path, value: 2 }], {
      replica: 'site-new',
      writer: 'site-old',
      seen: zeroTime,
      clock: { now: 9_000, trusted: false },
    });
    if (operation === undefined) throw new Error('nothing minted');
    const rebuilt = mergeShadows(applyOperations(emptyShadow, [operation]), atPeer);
    t.same(renderShadow(rebuilt), renderShadow(applyOperations(atPeer, [operation])));
    t.match(conflictsOf(rebuilt), [{ loser: { value: 2 }, winner: { value: 1 } }]);
  },
);

t.test('does not alter a state it is given, nor make a new one for nothing', async (t) => {
  const operations = write(emptyShadow, 'site', 1, { path: ['desired', 'a'], value: 1 });
  const state = applyOperations(emptyShadow, operations);
  t.equal(emptyShadow.leaves.size, 0);
  t.equal(applyOperations(state, operations), state);
  t.equal(collectDead(state, operations), state, 'what has a value is not collected');
});

/** Two replicas and an in-order lane each way, as the link has them: an entry holds operations, or what was merged and is dead. */
t.test('collects every deletion that both ends have, and brings nothing back', async (t) => {
  const seed = Date.now() % 2_147_483_647;
  t.comment(`seed ${seed}`);
  const paths = [['desired'], ['desired', 'a'], ['desired', 'a', 'x'], ['desired', 'a', 'y']];
  const action = fc.record({
    at: fc.nat(1),
    what: fc.constantFrom('write', 'write', 'delete', 'receive', 'receive'),
    path: fc.nat(paths.length - 1),
  });
  const names = ['cloud', 'site'];
  interface Entry {
    readonly operations: readonly ShadowOperation[];
    readonly dead: readonly ShadowWriteId[];
  }
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 40, size: 'max' }),
      fc.tuple(fc.constant(0), fc.constantFrom(0, 1e9, -1e9)),
      (actions, skewsMs) => {
        const states: [ShadowState, ShadowState] = [emptyShadow, emptyShadow];
        const lanes: [Entry[], Entry[]] = [[], []];
        const commit = (at: 0 | 1, state: ShadowState, operations: readonly ShadowOperation[]) => {
          const dead = deadFromOthers(state, names[at] ?? '');
          states[at] = collectDead(state, dead);
          if (operations.length + dead.length > 0)
            lanes[at === 0 ? 1 : 0].push({ operations, dead });
        };
        const receive = (at: 0 | 1): boolean => {
          const entry = lanes[at].shift();
          if (entry === undefined) return false;
          commit(at, collectDead(applyOperations(states[at], entry.operations), entry.dead), []);
          return true;
        };
        for (const [turn, { at: index, what, path }] of actions.entries()) {
          const at = index === 0 ? 0 : 1;
          if (what === 'receive') {
            receive(at);
            continue;
          }
          const edit = {
            path: paths[path] ?? ['desired'],
            ...(what === 'write' ? { value: turn } : {}),
          };
          const now = 1e12 + turn + skewsMs[at];
          const operations = write(states[at], names[at] ?? '', now, edit);
          commit(at, applyOperations(states[at], operations), operations);
        }
        while (receive(0) || receive(1));
        const [cloud, site] = states.map((state) => JSON.stringify(renderShadow(state)));
        if (cloud !== site) throw new Error(`replicas differ: ${cloud} | ${site}`);
        const rest = states.flatMap((state) => [...state.leaves.values()]);
        return rest.every((leaf) => leaf.value !== undefined);
      },
    ),
    { numRuns: 500, seed },
  );
});

/** A batch at the limits of a shadow, each operation telling when its path is looked at. */
t.test('an operation costs what it meets, not what there is', async (t) => {
  const count = 1_000;
  let looks = 0;
  const counted = (operation: ShadowOperation): ShadowOperation => {
    const { path } = operation;
    return Object.defineProperty({ ...operation }, 'path', {
      enumerable: true,
      get: () => {
        looks += 1;
        return path;
      },
    });
  };
  const leaves = Array.from({ length: count }, (_, at) => ({
    path: ['desired', `leaf-${at}`],
    value: at,
  }));
  const start = applyOperations(emptyShadow, write(emptyShadow, 'cloud', 1, ...leaves));
  const atSite = write(start, 'site', 2_000, ...leaves);
  const inCloud = write(start, 'cloud', 3_000, ...leaves);
  let state = applyOperations(start, atSite.map(counted));
  t.ok(looks < 20 * count, `${looks} looks at paths for ${count} writes over ${count} leaves`);
  looks = 0;
  state = applyOperations(state, inCloud.map(counted));
  t.ok(looks < 40 * count, `${looks} looks for ${count} that conflict`);
  looks = 0;
  t.equal(conflictsOf(state).length, count);
  t.ok(looks < 40 * count, `${looks} looks to list ${count} conflicts`);
  looks = 0;
  write(state, 'site', 4_000, ...leaves);
  t.ok(looks < 40 * count, `${looks} looks to write over them`);
});
