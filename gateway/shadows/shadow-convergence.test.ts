/**
 * Property: whatever both ends write, settle and forget, in whatever order, with rules or without, they come to the same; no conflict that a
 * rule decides stays open, and where nothing was forgotten both ends have the same conflicts.
 */
import { conflictWinners, sideOf, winnerOf } from '@holdfast/protos/semantics/conflict-policy';
import { settlementEdit } from '@holdfast/protos/semantics/conflict-settlement';
import {
  collectDead,
  deadFromOthers,
  forgetLost,
} from '@holdfast/protos/semantics/forget-operations';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { renderShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  idOf,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
  type ShadowWriteId,
} from '@holdfast/protos/semantics/shadow-merge';
import fc from 'fast-check';
import t from 'tap';
import { decideShadow } from './decide-shadow.js';
import { conflictIdOf } from './shadow-conflicts.js';
import { defaultShadowLimits, type ShadowContext, type ShadowEvent } from './shadow-decision.js';
import { noShadow, type StoredShadow } from './stored-shadow.js';

const paths = ['a', 'a.x', 'a.y', 'a.y.z', 'b'].map((path) => ['desired', ...path.split('.')]);
const ends = fc.constantFrom('site' as const, 'cloud' as const);

const run = fc.record({
  steps: fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('write' as const),
        end: ends,
        path: fc.nat(paths.length - 1),
        deletes: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('deliver' as const), end: ends }),
      fc.record({
        kind: fc.constant('settle' as const),
        end: ends,
        pick: fc.nat(3),
        keep: fc.constantFrom('winner' as const, 'loser' as const),
      }),
      fc.record({ kind: fc.constant('forget' as const), end: ends, pick: fc.nat(3) }),
    ),
    { maxLength: 40, size: 'max' },
  ),
  rules: fc.array(
    fc.record({
      path: fc.constantFrom('desired', 'desired.a', 'desired.*', 'desired.a.y'),
      winner: fc.constantFrom(...conflictWinners),
    }),
    { maxLength: 3 },
  ),
  skewMs: fc.constantFrom(-1_000, 0, 1_000),
});

/** What goes from one end to the other, in order. */
interface Told {
  readonly operations: readonly ShadowOperation[];
  readonly dead: readonly ShadowWriteId[];
}

interface Ends {
  site: StoredShadow;
  cloud: ShadowState;
  readonly up: Told[];
  readonly down: Told[];
}

type RunOf<A> = A extends fc.Arbitrary<infer R> ? R : never;

const faultsOf = ({ steps, rules, skewMs }: RunOf<typeof run>): string[] => {
  const both: Ends = { site: noShadow, cloud: emptyShadow, up: [], down: [] };
  let now = 1_000_000;
  const context = (): ShadowContext => ({
    name: '-',
    shadow: '-',
    rules,
    replica: 'site',
    seen: both.site.time,
    clock: { now, trusted: true },
    limits: defaultShadowLimits,
  });

  const decide = (event: ShadowEvent): void => {
    const decision = decideShadow(both.site, event, context());
    if (decision.kind !== 'changed') return;
    both.site = decision.shadow;
    const { operations, dead } = decision;
    if (operations.length + dead.length > 0) both.up.push({ operations, dead });
  };
  const inCloud = (state: ShadowState, operations: readonly ShadowOperation[]): void => {
    const dead = deadFromOthers(state, 'cloud');
    both.cloud = collectDead(state, dead);
    if (operations.length + dead.length > 0) both.down.push({ operations, dead });
  };
  const writeInCloud = (edit: ShadowEdit): void => {
    const operations = mintOperations(both.cloud, [edit], {
      replica: 'cloud',
      writer: 'cloud:ops',
      seen: zeroTime,
      clock: { now: now + skewMs, trusted: true },
    });
    inCloud(applyOperations(both.cloud, operations), operations);
  };
  const deliver = (end: 'site' | 'cloud'): void => {
    const told = (end === 'site' ? both.down : both.up).shift();
    if (told === undefined) return;
    if (end === 'site') decide({ type: 'merge', ...told });
    else inCloud(collectDead(applyOperations(both.cloud, told.operations), told.dead), []);
  };

  for (const [turn, action] of steps.entries()) {
    now += 1;
    const state = action.end === 'site' ? both.site.state : both.cloud;
    if (action.kind === 'deliver') deliver(action.end);
    else if (action.kind === 'write') {
      const path = paths[action.path] ?? [];
      const edit: ShadowEdit = action.deletes ? { path } : { path, value: turn };
      if (action.end === 'cloud') writeInCloud(edit);
      else decide({ type: 'update', writer: 'site:ann', patch: { desired: patchOf(edit) } });
    } else {
      const open = conflictsOf(state);
      const conflict = open[action.pick % Math.max(1, open.length)];
      if (conflict === undefined) continue;
      const losers = new Set([idOf(conflict.loser)]);
      if (action.kind === 'forget') {
        if (action.end === 'cloud') both.cloud = forgetLost(both.cloud, losers);
        else decide({ type: 'forget', losers });
      } else if (action.end === 'cloud') writeInCloud(settlementEdit(conflict, action.keep));
      else {
        const { path } = conflict;
        const { keep } = action;
        decide({
          type: 'settle',
          writer: 'site:bob',
          path,
          keep,
          conflict: conflictIdOf(conflict),
        });
      }
    }
  }
  while (both.up.length + both.down.length > 0) {
    deliver('site');
    deliver('cloud');
  }
  return differences(
    both,
    rules,
    steps.some(({ kind }) => kind === 'forget'),
  );
};

const patchOf = ({ path, value = null }: ShadowEdit) =>
  path.slice(1).reduceRight<never>((inner, key) => ({ [key]: inner }) as never, value as never);

const differences = (
  { site, cloud }: Ends,
  rules: RunOf<typeof run>['rules'],
  hasForgotten: boolean,
): string[] => {
  const faults: string[] = [];
  const [here, there] = [site.state, cloud].map((state) => JSON.stringify(renderShadow(state)));
  if (here !== there) faults.push(`${here} at the site, ${there} in the cloud`);
  const [ours, theirs] = [site.state, cloud].map((state) =>
    conflictsOf(state)
      .map(({ loser }) => idOf(loser))
      .sort()
      .join(),
  );
  if (!hasForgotten && ours !== theirs) faults.push(`conflicts ${ours} here, ${theirs} there`);
  for (const { path, winner, loser } of conflictsOf(site.state)) {
    const preferred = winnerOf(rules, '-', path);
    const isOneSided = sideOf(winner?.stamp.writer ?? '') === sideOf(loser.stamp.writer);
    if (preferred !== 'latest' && winner !== undefined && !isOneSided) {
      faults.push(`${idOf(loser)} is open, though ${preferred} wins`);
    }
  }
  return faults;
};

t.test('both ends come to the same, whatever is written, settled and forgotten', async (t) => {
  const seed = Date.now() % 2 ** 31;
  t.comment(`seed ${seed}`);
  fc.assert(
    fc.property(run, (given) => {
      const faults = faultsOf(given);
      if (faults.length > 0) throw new Error(faults.join('\n'));
    }),
    { numRuns: 500, seed },
  );
  t.pass();
});
