import t from 'tap';
import type { JsonObject } from '../mqtt/json-payload.js';
import { zeroTime } from './hybrid-clock.js';
import {
  deltaOf,
  editsOf,
  faultOfPatch,
  isEqual,
  renderShadow,
  type ShadowPatch,
  sizeOfDocument,
} from './shadow-document.js';
import { applyOperations, emptyShadow, mintOperations, type ShadowState } from './shadow-merge.js';
import { parseShadowOperations } from './shadow-operation-schema.js';

const patched = (state: ShadowState, now: number, patch: ShadowPatch): ShadowState =>
  applyOperations(
    state,
    mintOperations(state, editsOf(state, patch), {
      replica: 'r',
      writer: 'w',
      seen: zeroTime,
      clock: { now, trusted: true },
    }),
  );

t.test('merges patches as AWS IoT does', async (t) => {
  let state = patched(emptyShadow, 1_500, {
    desired: { color: { r: 1, g: 2 }, list: [1, 2] },
    reported: { constructor: 'x', color: { r: 1 } },
  });
  t.same(renderShadow(state), {
    state: {
      desired: { color: { r: 1, g: 2 }, list: [1, 2] },
      reported: { constructor: 'x', color: { r: 1 } },
    },
    metadata: {
      desired: { color: { r: { timestamp: 1 }, g: { timestamp: 1 } }, list: { timestamp: 1 } },
      reported: { constructor: { timestamp: 1 }, color: { r: { timestamp: 1 } } },
    },
  });
  state = patched(state, 2_500, { desired: { color: { r: null }, list: [3] }, reported: null });
  t.same(renderShadow(state), {
    state: { desired: { color: { g: 2 }, list: [3] } },
    metadata: { desired: { color: { g: { timestamp: 1 } }, list: { timestamp: 2 } } },
  });
});

t.test('the delta is every desired leaf that is not reported so, arrays whole', async (t) => {
  const desired = {
    same: 1,
    other: 2,
    missing: { deep: 3 },
    list: [1, { a: 1 }],
    equal: [{ a: 1, b: 2 }],
  };
  const reported = { same: 1, other: 9, missing: 4, list: [1], equal: [{ b: 2, a: 1 }], extra: 5 };
  const state = patched(emptyShadow, 3_000, { desired, reported });
  t.same(deltaOf(state), {
    state: { other: 2, missing: { deep: 3 }, list: [1, { a: 1 }] },
    metadata: {
      other: { timestamp: 3 },
      missing: { deep: { timestamp: 3 } },
      list: { timestamp: 3 },
    },
  });
  t.equal(deltaOf(patched(emptyShadow, 1, { reported })), undefined);
  t.equal(deltaOf(patched(emptyShadow, 1, { desired, reported: desired })), undefined);
  t.same(deltaOf(patched(emptyShadow, 1, { desired: { toString: 1 }, reported: {} }))?.state, {
    toString: 1,
  });
});

t.test(
  'writes nothing for an object without keys, and deletes nothing where nothing is',
  async (t) => {
    const state = patched(emptyShadow, 1, { desired: { a: { b: 1 } } });
    t.same(editsOf(state, { desired: { a: {}, c: { d: {} }, gone: null } }), []);
    t.same(editsOf(state, { desired: { a: { b: { c: null } } } }), [
      { path: ['desired', 'a', 'b', 'c'] },
    ]);
    t.same(editsOf(state, { desired: null, reported: null }), [{ path: ['desired'] }]);
  },
);

t.test('says what is wrong with a patch', async (t) => {
  const nested = (levels: number): JsonObject =>
    levels === 1 ? { a: 1 } : { a: nested(levels - 1) };
  t.equal(faultOfPatch({ desired: nested(8) }, 8), undefined);
  t.match(faultOfPatch({ desired: nested(9) }, 8), /too many levels .* 8/);
  t.match(faultOfPatch({ reported: { a: [1, [null]] } }, 8), /null .* reported/);
  t.equal(faultOfPatch({ reported: { a: null } }, 8), undefined);
});

t.test('counts both sections in bytes, and knows equal from unequal', async (t) => {
  t.equal(sizeOfDocument({ desired: { a: 'é' }, reported: {} }), 10 + 2);
  t.equal(sizeOfDocument({}), 0);
  t.ok(isEqual({ a: [1, { b: null }] }, { a: [1, { b: null }] }));
  for (const [a, b] of [
    [{ a: 1 }, { b: 1 }],
    [[1], { 0: 1 }],
    [[1, 2], [1]],
    [null, {}],
    [{ toString: 1 }, {}],
  ] as const) {
    t.notOk(isEqual(a, b));
  }
});

t.test('reads back operations it wrote, and refuses what is none', async (t) => {
  const [operation] = patched(emptyShadow, 1, {
    desired: { constructor: { a: [1] } },
  }).leaves.values();
  t.same(parseShadowOperations(JSON.parse(JSON.stringify([operation]))), [operation]);
  for (const broken of [
    null,
    [{ ...operation, path: [] }],
    [{ ...operation, path: ['else', 'a'] }],
    [{ ...operation, path: ['desired'] }],
    [{ ...operation, path: ['desired', '__proto__'] }],
    [{ ...operation, stamp: { wall: -1, counter: 0, replica: 'r', writer: 'w' } }],
    [{ ...operation, over: [{ path: ['desired'] }] }],
  ]) {
    t.throws(() => parseShadowOperations(broken), { code: 'REQUEST_INVALID' });
  }
});
