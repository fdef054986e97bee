import fc from 'fast-check';
import t from 'tap';
import { type CampaignPhase, onePhase } from '../link/campaign-document.js';
import {
  beforePhases,
  isReached,
  mayOffer,
  nextPhase,
  type PhaseCounts,
  type PhasedCampaign,
  type PhaseEvent,
  type PhaseState,
  phaseIndexOf,
  tallyOf,
} from './phase-machine.js';

const now = 1_000_000;
const phase = (changes: Partial<CampaignPhase> = {}): CampaignPhase => ({
  ...onePhase,
  duration_ms: 1_000,
  success_percent: 50,
  error_percent: 40,
  error_min_count: 2,
  ...changes,
});
const campaign = (changes: Partial<PhasedCampaign> = {}): PhasedCampaign => ({
  state: 'running',
  started_at: now - 10_000,
  phases: [
    phase({ percent: 10 }),
    phase({ percent: 50, judged_by: 'fleet' }),
    phase({ percent: 80, released: false }),
    phase({ approval: true, released: false }),
  ],
  resumes: 0,
  policy: { unproven_counts: 'failure' },
  ...changes,
});

const at = (index: number, changes: Partial<PhaseState> = {}): PhaseState => ({
  ...beforePhases,
  phase: index,
  since: now - 2_000,
  ...changes,
});
const failed = { by: 'site', reason: 'errors' };
const states = {
  before: beforePhases,
  'first, just begun': at(0, { since: now - 10 }),
  first: at(0),
  second: at(1),
  third: at(2),
  last: at(3),
  'paused by errors': at(0, { paused: failed }),
  'paused by a person': at(0, { paused: { by: 'site:ann', reason: 'odd' } }),
} as const satisfies Record<string, PhaseState>;
type StateName = keyof typeof states;

const counts = (own: PhaseCounts): PhaseCounts[] => [own, own, own, own];
const look = (own: PhaseCounts): PhaseEvent => ({ type: 'look', counts: counts(own) });
const cases: Record<string, readonly [PhaseEvent, PhasedCampaign]> = {
  'all good': [look({ succeeded: 4 }), campaign()],
  'half good': [look({ succeeded: 2, downloading: 2 }), campaign()],
  'too little yet': [look({ succeeded: 1, downloading: 3 }), campaign()],
  nothing: [look({}), campaign()],
  'too many errors': [look({ succeeded: 1, failed: 1, queued: 6 }), campaign()],
  'over without success': [
    look({ failed: 2, succeeded: 1 }),
    campaign({
      phases: [phase({ percent: 50, error_percent: 100, success_percent: 60 }), phase()],
    }),
  ],
  'released by the fleet': [
    look({ succeeded: 4 }),
    campaign({ phases: campaign().phases.map((one) => ({ ...one, released: true })) }),
  ],
  'to start later': [look({}), campaign({ started_at: now + 5 })],
  'paused in the cloud': [look({ succeeded: 4 }), campaign({ state: 'paused' })],
  cancelling: [look({ failed: 4 }), campaign({ state: 'cancelling' })],
  'resumed in the cloud': [look({ succeeded: 2, failed: 2 }), campaign({ resumes: 1 })],
  pause: [{ type: 'pause', by: 'site:bob', reason: 'smoke' }, campaign()],
  resume: [{ type: 'resume', counts: counts({ failed: 4 }) }, campaign()],
};

/** The phase it is then in, `p` when it is paused, and what it waits for. Each line: the states in their order. */
const table: Record<string, Record<StateName, string>> = {
  'all good': row(
    '0 duration',
    '0 duration',
    '1 duration',
    '1 fleet',
    '3 approval→2',
    '3',
    '0p paused',
    '0p paused',
  ),
  'half good': row(
    '0 duration',
    '0 duration',
    '1 duration',
    '1 fleet',
    '3 approval→2',
    '3',
    '0p paused',
    '0p paused',
  ),
  'too little yet': row(
    '0 duration',
    '0 duration',
    '0 success',
    '1 fleet',
    '2 success',
    '3',
    '0p paused',
    '0p paused',
  ),
  nothing: row(
    '0 duration',
    '0 duration',
    '1 duration',
    '1 fleet',
    '3 approval→2',
    '3',
    '0p paused',
    '0p paused',
  ),
  'too many errors': row(
    '0 duration',
    '0p paused',
    '0p paused',
    '1p paused',
    '2p paused',
    '3p paused',
    '0p paused',
    '0p paused',
  ),
  'over without success': row(
    '0 duration',
    '0p paused',
    '0p paused',
    '1p paused',
    '2p paused',
    '3p paused',
    '0p paused',
    '0p paused',
  ),
  'released by the fleet': row(
    '0 duration',
    '0 duration',
    '1 duration',
    '2 duration',
    '3',
    '3',
    '0p paused',
    '0p paused',
  ),
  'to start later': row(
    '-1 start',
    '0 duration',
    '1 duration',
    '1 fleet',
    '3 approval→2',
    '3',
    '0p paused',
    '0p paused',
  ),
  'paused in the cloud': row(
    '-1 paused_by_plan',
    '0 paused_by_plan',
    '0 paused_by_plan',
    '1 paused_by_plan',
    '2 paused_by_plan',
    '3 paused_by_plan',
    '0p paused_by_plan',
    '0p paused_by_plan',
  ),
  cancelling: row('-1', '0', '0', '1', '2', '3', '0p', '0p'),
  'resumed in the cloud': row(
    '0 duration',
    '0p paused',
    '0p paused',
    '1p paused',
    '2p paused',
    '3p paused',
    '1 duration',
    '0p paused',
  ),
  pause: row(
    '-1p paused',
    '0p paused',
    '0p paused',
    '1p paused',
    '2p paused',
    '3p paused',
    '0p paused',
    '0p paused',
  ),
  resume: row('-1', '0', '0', '1', '2', '3', '0', '0'),
};

function row(...cells: string[]): Record<StateName, string> {
  const names = Object.keys(states) as StateName[];
  return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ''])) as Record<
    StateName,
    string
  >;
}

t.test('every state takes every event as the table says', async (t) => {
  for (const [name, [event, of]] of Object.entries(cases)) {
    for (const [stateName, state] of Object.entries(states) as [StateName, PhaseState][]) {
      const { state: after, wait } = nextPhase(state, event, of, now);
      const became = `${after.phase}${after.paused === null ? '' : 'p'}${wait === null ? '' : ` ${wait.code}`}`;
      // The last gate holds it in the phase before.
      const expected = table[name]?.[stateName].replace(/^3 approval→2$/, '2 approval');
      t.equal(became, expected, `${name}, ${stateName}`);
    }
  }
});

t.test('a person resumes past the errors there were, and new ones pause it again', async (t) => {
  const of = campaign();
  const bad = counts({ failed: 2, succeeded: 2, queued: 4 });
  const paused = nextPhase(at(0), { type: 'look', counts: bad }, of, now).state;
  t.match(paused.paused, { by: 'site', reason: /2 of 4 failed in phase 1, more than 40 %/ });
  const resumed = nextPhase(paused, { type: 'resume', counts: bad }, of, now).state;
  t.equal(nextPhase(resumed, { type: 'look', counts: bad }, of, now).state.paused, null);
  const one = counts({ failed: 3, succeeded: 2, queued: 3 });
  t.equal(nextPhase(resumed, { type: 'look', counts: one }, of, now).state.paused, null, 'too few');
  const worse = counts({ failed: 4, succeeded: 2, queued: 2 });
  t.match(nextPhase(resumed, { type: 'look', counts: worse }, of, now).state.paused, {
    by: 'site',
  });
});

t.test('what did not succeed in the end goes on only when a person says so', async (t) => {
  const of = campaign({
    phases: [phase({ percent: 50, error_percent: 100, success_percent: 60 }), phase()],
  });
  const over = counts({ failed: 2, succeeded: 1 });
  const paused = nextPhase(at(0), { type: 'look', counts: over }, of, now).state;
  t.match(paused.paused, { reason: /1 of 3 succeeded in phase 1, and 60 % have to/ });
  const resumed = nextPhase(paused, { type: 'resume', counts: over }, of, now).state;
  t.equal(nextPhase(resumed, { type: 'look', counts: over }, of, now).state.phase, 1);
});

t.test('what a person paused at the site nobody in the cloud resumes', async (t) => {
  const of = campaign({ resumes: 3 });
  const { state } = nextPhase(states['paused by a person'], look({ succeeded: 4 }), of, now);
  t.match(state, { paused: { by: 'site:ann' }, resumes: 3 });
});

t.test('unproven counts as the policy says, and what was called off not at all', async (t) => {
  const own: PhaseCounts = { succeeded: 1, unproven: 1, cancelled: 5, superseded: 3, queued: 2 };
  const good = { policy: { unproven_counts: 'success' } } as const;
  t.same(tallyOf(own, campaign()), { total: 4, over: 2, succeeded: 1, failed: 1 });
  t.same(tallyOf(own, good), { total: 4, over: 2, succeeded: 2, failed: 0 });
  t.equal(isReached(phase(), own, campaign()), false);
  t.equal(isReached(phase(), own, good), true);
});

t.test('a device belongs to one phase, wherever it is asked', async (t) => {
  const { phases } = campaign();
  fc.assert(
    fc.property(fc.string(), (device) => {
      const index = phaseIndexOf(phases, 'c', device);
      const hash = phaseIndexOf([{ percent: 100 }], 'c', device);
      return index >= 0 && index < phases.length && hash === 0;
    }),
  );
  const many = Array.from({ length: 2_000 }, (_, i) => phaseIndexOf(phases, 'c', `d${i}`));
  const share = many.filter((index) => index <= 1).length / many.length;
  t.ok(share > 0.45 && share < 0.55, `${share} of the devices are in the first half`);
});

t.test('offers only what has begun, and nothing while it is paused', async (t) => {
  t.equal(mayOffer(at(1), campaign(), 1), true);
  t.equal(mayOffer(at(1), campaign(), 2), false);
  t.equal(mayOffer(at(1, { paused: failed }), campaign(), 0), false);
  t.equal(mayOffer(at(1), campaign({ state: 'paused' }), 0), false);
});
