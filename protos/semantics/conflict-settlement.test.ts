import t from 'tap';
import {
  type ConflictKeep,
  keptOf,
  settledBetween,
  settlementEdit,
} from './conflict-settlement.js';
import { zeroTime } from './hybrid-clock.js';
import { renderShadow } from './shadow-document.js';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  mintOperations,
  type ShadowEdit,
  type ShadowState,
} from './shadow-merge.js';

const write = (state: ShadowState, replica: string, now: number, ...edits: ShadowEdit[]) =>
  mintOperations(state, edits, {
    replica,
    writer: replica,
    seen: zeroTime,
    clock: { now, trusted: true },
  });

const at = (path: string, value?: number): ShadowEdit => ({
  path: path.split('.'),
  ...(value === undefined ? {} : { value }),
});

/** What both wrote unseen of each other; the site later, so that it wins. */
const bothWrote = (cloud: ShadowEdit, site: ShadowEdit, common: readonly ShadowEdit[] = []) => {
  const start = applyOperations(emptyShadow, write(emptyShadow, 'site', 1_000, ...common));
  return applyOperations(start, [
    ...write(start, 'cloud', 2_000, cloud),
    ...write(start, 'site', 3_000, site),
  ]);
};

const settle = (state: ShadowState, keep: ConflictKeep) => {
  const [conflict] = conflictsOf(state);
  if (conflict === undefined) throw new Error('no conflict');
  const operations = write(state, 'site', 9_000, settlementEdit(conflict, keep));
  const after = applyOperations(state, operations);
  return { conflict, operations, after, shown: renderShadow(after).state };
};

const cases: readonly [
  name: string,
  cloud: ShadowEdit,
  site: ShadowEdit,
  won: object,
  lost: object,
][] = [
  ['two values', at('desired.a', 1), at('desired.a', 2), { a: 2, b: 7 }, { a: 1, b: 7 }],
  ['a deletion lost', at('desired.a'), at('desired.a', 2), { a: 2, b: 7 }, { b: 7 }],
  ['a deletion won', at('desired.a', 1), at('desired.a'), { b: 7 }, { a: 1, b: 7 }],
  [
    'a value above won',
    at('desired.a.x', 1),
    at('desired.a', 2),
    { a: 2, b: 7 },
    { a: { x: 1 }, b: 7 },
  ],
  [
    'a value below won',
    at('desired.a', 1),
    at('desired.a.x', 2),
    { a: { x: 2 }, b: 7 },
    { a: 1, b: 7 },
  ],
  ['a deletion above lost', at('desired.a'), at('desired.a.x', 2), { a: { x: 2 }, b: 7 }, { b: 7 }],
  ['a deletion above won', at('desired.a.x', 1), at('desired'), {}, { a: { x: 1 } }],
];

for (const [name, cloud, site, won, lost] of cases) {
  t.test(`settles either way where ${name}`, async (t) => {
    const state = bothWrote(cloud, site, [at('desired.a', 0), at('desired.b', 7)]);
    t.same(renderShadow(state).state.desired ?? {}, won);
    for (const [keep, shown] of [
      ['winner', won],
      ['loser', lost],
    ] as const) {
      const settled = settle(state, keep);
      t.same(settled.shown.desired ?? {}, shown, `keeps the ${keep}`);
      t.same(conflictsOf(settled.after), []);
      t.match(settledBetween(state, settled.after, settled.operations), [
        { kept: keep, by: { stamp: { writer: 'site', wall: 9_000 } } },
      ]);
    }
  });
}

t.test('keeping a deletion far above takes nothing along that was written since', async (t) => {
  const before = bothWrote(at('desired.a.x', 1), at('desired'), [at('desired.a.x', 0)]);
  const state = applyOperations(before, write(before, 'site', 4_000, at('desired.c', 3)));
  t.same(settle(state, 'winner').shown, { desired: { c: 3 } });
});

t.test('something else over both is neither of them', async (t) => {
  const state = bothWrote(at('desired.a', 1), at('desired.a', 2));
  const operations = write(state, 'cloud', 9_000, at('desired.a', 5));
  const after = applyOperations(state, operations);
  t.match(settledBetween(state, after, operations), [
    { kept: 'other', by: { stamp: { writer: 'cloud' } } },
  ]);
  const [conflict] = conflictsOf(state);
  t.equal(conflict && keptOf(conflict, state), 'winner');
});

t.test(
  'a write by a clock that nobody vouches for says so, and merges like any other',
  async (t) => {
    const clock = { now: 5_000, trusted: false };
    const context = {
      replica: 'site',
      writer: 'site:ann',
      seen: { wall: 4_000, counter: 0 },
      clock,
    };
    const [operation] = mintOperations(emptyShadow, [at('desired.a', 1)], context);
    t.match(operation, { trusted: false, stamp: { wall: 4_000, counter: 1 } });
    const [believed] = write(emptyShadow, 'site', 5_000, at('desired.a', 1));
    t.notOk(believed && 'trusted' in believed);
  },
);
