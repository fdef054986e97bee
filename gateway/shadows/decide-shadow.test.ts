import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { deltaOf, renderShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
} from '@holdfast/protos/semantics/shadow-merge';
import t from 'tap';
import { decideShadow } from './decide-shadow.js';
import {
  defaultShadowLimits,
  type ShadowContext,
  type ShadowDecision,
  type ShadowEvent,
} from './shadow-decision.js';
import { noShadow, type StoredShadow } from './stored-shadow.js';

const at = (now: number, limits = {}): ShadowContext => ({
  name: 'classic',
  shadow: '-',
  rules: [],
  replica: 'site',
  seen: zeroTime,
  clock: { now, trusted: true },
  limits: { ...defaultShadowLimits, ...limits },
});

const fromCloud = (now: number, edits: readonly ShadowEdit[], state = emptyShadow) =>
  mintOperations(state, edits, {
    replica: 'cloud',
    writer: 'cloud',
    seen: zeroTime,
    clock: { now, trusted: true },
  });

const after = (shadow: StoredShadow, event: ShadowEvent, context = at(5_000)): StoredShadow => {
  const decision = decideShadow(shadow, event, context);
  if (decision.kind !== 'changed') throw new Error(`${decision.kind}`);
  return decision.shadow;
};

const reported = { on: true, level: 3 };
const live = after(noShadow, {
  type: 'update',
  writer: 'device:d',
  patch: { reported, desired: { level: 4 } },
});
const deleted = after(live, { type: 'delete', writer: 'device:d' }, at(6_000));
const ofCloud = after(
  noShadow,
  {
    type: 'merge',
    operations: fromCloud(5_000, [{ path: ['desired', 'level'], value: 9 }]),
    dead: [],
  },
  at(5_000),
);
const states = { noShadow, live, deleted, ofCloud };

const merge = (...operations: ShadowOperation[]): ShadowEvent => ({
  type: 'merge',
  operations,
  dead: [],
});
const [older] = fromCloud(1_000, [{ path: ['desired', 'level'], value: 1 }]);
const [newer] = fromCloud(9_000, [{ path: ['desired', 'level'], value: 2 }]);
if (older === undefined || newer === undefined) throw new Error('nothing minted');

const events = {
  'the device reports': { type: 'update', writer: 'device:d', patch: { reported: { on: false } } },
  'a person desires': { type: 'update', writer: 'site:ann', patch: { desired: { level: 7 } } },
  'a person reports': { type: 'update', writer: 'site:ann', patch: { reported: { on: false } } },
  'the device empties it': { type: 'update', writer: 'device:d', patch: null },
  'a person empties it': { type: 'update', writer: 'site:ann', patch: null },
  'an update of version 1': { type: 'update', writer: 'device:d', patch: { reported }, version: 1 },
  'an update of version 7': { type: 'update', writer: 'device:d', patch: { reported }, version: 7 },
  'the device deletes it': { type: 'delete', writer: 'device:d' },
  'a person deletes it': { type: 'delete', writer: 'site:ann' },
  'a deletion of version 7': { type: 'delete', writer: 'device:d', version: 7 },
  'an older write of the cloud': merge(older),
  'a newer write of the cloud': merge(newer),
  'nothing of the cloud': merge(),
  'the cloud deletes it': {
    type: 'merge',
    operations: fromCloud(9_500, [{ path: ['desired'] }, { path: ['reported'] }], live.state),
    dead: [],
    isDeletion: true,
  },
} satisfies Record<string, ShadowEvent>;

const inShort = (decision: ShadowDecision): string => {
  if (decision.kind === 'refused') return String(decision.code);
  if (decision.kind === 'unchanged') return 'unchanged';
  const { shadow } = decision;
  const { state } = renderShadow(shadow.state);
  const minus = conflictsOf(shadow.state).length === 0 ? '' : ' conflict';
  return `v${shadow.version}${shadow.exists ? '' : ' gone'} ${JSON.stringify(state)}${minus}`;
};

/** A row an event, a column a state. */
const table: Record<keyof typeof events, Record<keyof typeof states, string>> = {
  'the device reports': {
    noShadow: 'v1 {"reported":{"on":false}}',
    live: 'v2 {"desired":{"level":4},"reported":{"level":3,"on":false}}',
    deleted: 'v2 {"reported":{"on":false}}',
    ofCloud: 'v2 {"desired":{"level":9},"reported":{"on":false}}',
  },
  'a person desires': {
    noShadow: 'v1 {"desired":{"level":7}}',
    live: 'v2 {"desired":{"level":7},"reported":{"level":3,"on":true}}',
    deleted: 'v2 {"desired":{"level":7}}',
    ofCloud: 'v2 {"desired":{"level":7}}',
  },
  'a person reports': { noShadow: '403', live: '403', deleted: '403', ofCloud: '403' },
  'the device empties it': {
    noShadow: 'v1 {}',
    live: 'v2 {}',
    deleted: 'v2 {}',
    ofCloud: 'v2 {}',
  },
  'a person empties it': {
    noShadow: 'v1 {}',
    live: 'v2 {"reported":{"level":3,"on":true}}',
    deleted: 'v2 {}',
    ofCloud: 'v2 {}',
  },
  'an update of version 1': {
    noShadow: '409',
    live: 'v2 {"desired":{"level":4},"reported":{"level":3,"on":true}}',
    deleted: 'v2 {"reported":{"level":3,"on":true}}',
    ofCloud: 'v2 {"desired":{"level":9},"reported":{"level":3,"on":true}}',
  },
  'an update of version 7': { noShadow: '409', live: '409', deleted: '409', ofCloud: '409' },
  'the device deletes it': {
    noShadow: '404',
    live: 'v1 gone {}',
    deleted: '404',
    ofCloud: 'v1 gone {}',
  },
  'a person deletes it': {
    noShadow: '404',
    live: 'v2 {"reported":{"level":3,"on":true}}',
    deleted: '404',
    ofCloud: 'v1 gone {}',
  },
  'a deletion of version 7': { noShadow: '404', live: '409', deleted: '404', ofCloud: '409' },
  'an older write of the cloud': {
    noShadow: 'v1 {"desired":{"level":1}}',
    // What it lost to was written without having seen it.
    live: 'v1 {"desired":{"level":4},"reported":{"level":3,"on":true}} conflict',
    deleted: 'v1 gone {} conflict',
    // Its own earlier write.
    ofCloud: 'unchanged',
  },
  'a newer write of the cloud': {
    noShadow: 'v1 {"desired":{"level":2}}',
    live: 'v2 {"desired":{"level":2},"reported":{"level":3,"on":true}} conflict',
    deleted: 'v2 {"desired":{"level":2}} conflict',
    ofCloud: 'v2 {"desired":{"level":2}}',
  },
  'nothing of the cloud': {
    noShadow: 'unchanged',
    live: 'unchanged',
    deleted: 'unchanged',
    ofCloud: 'unchanged',
  },
  'the cloud deletes it': {
    noShadow: 'v0 gone {}',
    live: 'v2 gone {}',
    // Neither deletion had seen the other.
    deleted: 'v1 gone {} conflict',
    ofCloud: 'v2 gone {}',
  },
};

for (const [eventName, row] of Object.entries(table)) {
  t.test(`whatever the shadow, when ${eventName}`, async (t) => {
    for (const [stateName, expected] of Object.entries(row)) {
      const event = events[eventName as keyof typeof events];
      const state = states[stateName as keyof typeof states];
      t.equal(inShort(decideShadow(state, event, at(7_000))), expected, stateName);
    }
  });
}

t.test(
  'refuses what is too large, too deep or has a null in an array, and changes nothing',
  async (t) => {
    const refuse = (patch: object, limits: object) =>
      inShort(decideShadow(live, { type: 'update', writer: 'device:d', patch }, at(1, limits)));
    t.equal(refuse({ reported: { text: 'x'.repeat(9_000) } }, {}), '413');
    t.equal(refuse({ reported: { a: { b: { c: 1 } } } }, { maxDepth: 2 }), '400');
    t.equal(refuse({ reported: { a: [null] } }, {}), '400');
    t.equal(refuse({ reported: { a: 1, b: 2, c: 3 } }, { maxLeaves: 5 }), '413');
    t.equal(
      refuse({ reported: Object.fromEntries([...Array(9).keys()].entries()) }, { maxLeaves: 8 }),
      '413',
    );
    t.match(refuse({ reported: null }, { maxLeaves: 1 }), /^v2/, 'a full shadow can be emptied');
  },
);

t.test('the size that counts is the one the shadow would have', async (t) => {
  const update = (patch: object): ShadowEvent => ({ type: 'update', writer: 'device:d', patch });
  const limits = { maxDocumentBytes: 80 };
  const full = after(noShadow, update({ reported: { a: 'x'.repeat(70) } }), at(1, limits));
  t.equal(inShort(decideShadow(full, update({ reported: { b: 1 } }), at(2, limits))), '413');
  t.match(inShort(decideShadow(full, update({ reported: { a: 1, b: 1 } }), at(2, limits))), /^v2/);
});

t.test('a shadow that is larger than it may be now can shrink, and not grow', async (t) => {
  const update = (patch: object): ShadowEvent => ({ type: 'update', writer: 'device:d', patch });
  const full = after(noShadow, update({ reported: { a: 'x'.repeat(200) } }), at(1, {}));
  const limits = { maxDocumentBytes: 80 };
  const to = (length: number): string =>
    inShort(decideShadow(full, update({ reported: { a: 'x'.repeat(length) } }), at(2, limits)));
  t.match(to(150), /^v2/);
  t.equal(to(201), '413');
});

t.test(
  'tells the control plane which of its own writes hold nothing any more, and forgets them',
  async (t) => {
    const start = after(
      noShadow,
      merge(...fromCloud(1_000, [{ path: ['desired', 'a'], value: 1 }])),
    );
    const deletes = fromCloud(2_000, [{ path: ['desired', 'a'] }], start.state);
    const decision = decideShadow(start, merge(...deletes), at(3_000));
    if (decision.kind !== 'changed') throw new Error(decision.kind);
    t.match(decision.dead, [{ path: ['desired', 'a'], stamp: { replica: 'cloud', wall: 2_000 } }]);
    t.equal(decision.shadow.state.leaves.size, 0);

    const own = decideShadow(
      live,
      { type: 'update', writer: 'site:ann', patch: { desired: { level: null } } },
      at(8_000),
    );
    if (own.kind !== 'changed') throw new Error(own.kind);
    t.equal(own.shadow.state.leaves.size, 3, 'its own deletion waits for the control plane');
    const [deletion] = own.operations;
    if (deletion === undefined) throw new Error('nothing minted');
    const { path, stamp } = deletion;
    const told = decideShadow(
      own.shadow,
      { type: 'merge', operations: [], dead: [{ path, stamp }] },
      at(9_000),
    );
    if (told.kind !== 'changed') throw new Error(told.kind);
    t.equal(told.shadow.state.leaves.size, 2);
    t.equal(told.shadow.version, own.shadow.version, 'forgetting is no change that anyone sees');
    t.equal(told.shadow.time.wall, 8_000, 'what was forgotten still counts for the clock');
  },
);

t.test('both ends come to the same shadow', async (t) => {
  const person = decideShadow(
    live,
    { type: 'update', writer: 'site:ann', patch: { desired: { level: 7 } } },
    at(7_000),
  );
  if (person.kind !== 'changed') throw new Error(person.kind);
  const cloud = applyOperations(applyOperations(live.state, [newer]), person.operations);
  const site = after(person.shadow, merge(newer));
  t.same(renderShadow(cloud), renderShadow(site.state));
  t.same(conflictsOf(cloud), conflictsOf(site.state));
  t.same(deltaOf(cloud)?.state, { level: 2 });
});
