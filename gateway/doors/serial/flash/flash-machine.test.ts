import t from 'tap';
import { imagesOf, next, runOf } from './flash-machine.js';
import {
  type Flash,
  type FlashEvent,
  type FlashRun,
  type FlashState,
  type LineImage,
  unflashed,
} from './flash-state.js';

const imageOf = (version: string): LineImage => ({
  ...{ model: 'pump', version, sha256: version.repeat(8), sizeBytes: 100 },
});
const [one, two, three] = [imageOf('1'), imageOf('2'), imageOf('3')];
const run: FlashRun = { kind: 'job', job: 'c', offer: 1 };
const again: FlashRun = { kind: 'job', job: 'c', offer: 2 };
const hand: FlashRun = { kind: 'hand', by: 'tess', at: 5 };
const damage = { mend: one };
const why = 'mute';

const phases = {
  idle: { phase: 'idle' },
  checking: { phase: 'checking', run, image: two, damage: null },
  'checking, half': { phase: 'checking', run, image: two, damage },
  waiting: { phase: 'waiting', run, image: two, damage: null },
  'waiting, half': { phase: 'waiting', run, image: two, damage },
  writing: { phase: 'writing', run, image: two, former: one },
  'writing, first': { phase: 'writing', run, image: two, former: null },
  mending: { phase: 'writing', run: null, image: two, former: one },
  proving: { phase: 'proving', run, image: two, former: one, isUp: false },
  'proving, first': { phase: 'proving', run, image: two, former: null, isUp: false },
  'proving, up': { phase: 'proving', run, image: two, former: one, isUp: true },
  'proving, by hand': { phase: 'proving', run: hand, image: two, former: one, isUp: false },
  'proving, mended': { phase: 'proving', run: null, image: two, former: one, isUp: false },
  restoring: { phase: 'restoring', run, image: one, failed: two, why },
  'restoring, unasked': { phase: 'restoring', run: null, image: one, failed: two, why },
  returning: { phase: 'returning', run, image: one, failed: two, why },
  'returning, unasked': { phase: 'returning', run: null, image: one, failed: two, why },
  settled: { phase: 'settled', run, outcome: 'failed', error: 'x', damage: null },
  'settled, half': { phase: 'settled', run, outcome: 'failed', error: 'x', damage },
} satisfies Record<string, Flash>;

const events = {
  offered: { type: 'offered', run: again, image: three },
  checked: { type: 'checked' },
  refused: { type: 'refused', error: 'unsigned' },
  began: { type: 'began', former: one },
  written: { type: 'written' },
  failed: { type: 'failed', error: 'no loader' },
  'hello 1': { type: 'hello', version: '1' },
  'hello 2': { type: 'hello', version: '2' },
  silent: { type: 'silent', restorable: true },
  'silent, gone': { type: 'silent', restorable: false },
  cancelling: { type: 'cancelling', run },
  'ended well': { type: 'ended', run, succeeded: true },
  'ended badly': { type: 'ended', run, succeeded: false },
  'ended, another': { type: 'ended', run: again, succeeded: true },
  told: { type: 'told' },
} satisfies Record<string, FlashEvent>;

/** A state in a word or two. */
const shown = ({ flash, running }: FlashState): string => {
  const runs = `${running?.version ?? '-'}`;
  const half =
    'damage' in flash && flash.damage !== null ? `, half ${flash.damage.mend.version}` : '';
  const of = 'run' in flash && flash.run === null ? ', unasked' : '';
  const image = 'image' in flash ? ` ${flash.image.version}` : '';
  const outcome = flash.phase === 'settled' ? ` ${flash.outcome}` : '';
  const isUp = flash.phase === 'proving' && flash.isUp ? ', up' : '';
  return `${flash.phase}${outcome}${image}${of}${half}${isUp} [${runs}]`;
};

/** Whatever is not here leaves everything as it is. `[1]`: what is known to run. */
const expected: Record<keyof typeof phases, Partial<Record<keyof typeof events, string>>> = {
  idle: { offered: 'checking 3 [1]', 'hello 2': 'idle [-]' },
  checking: {
    offered: 'checking 3 [1]',
    checked: 'waiting 2 [1]',
    refused: 'settled failed [1]',
    'hello 2': 'checking 2 [-]',
    cancelling: 'settled cancelled [1]',
    'ended well': 'idle [1]',
    'ended badly': 'idle [1]',
  },
  'checking, half': {
    offered: 'checking 3, half 1 [1]',
    checked: 'waiting 2, half 1 [1]',
    refused: 'settled failed, half 1 [1]',
    'hello 2': 'checking 2, half 1 [-]',
    cancelling: 'settled cancelled, half 1 [1]',
    'ended well': 'writing 1, unasked [1]',
    'ended badly': 'writing 1, unasked [1]',
  },
  waiting: {
    offered: 'checking 3 [1]',
    refused: 'settled failed [1]',
    began: 'writing 2 [1]',
    failed: 'settled failed [1]',
    'hello 2': 'waiting 2 [-]',
    cancelling: 'settled cancelled [1]',
    'ended well': 'idle [1]',
    'ended badly': 'idle [1]',
  },
  'waiting, half': {
    offered: 'checking 3, half 1 [1]',
    refused: 'settled failed, half 1 [1]',
    began: 'writing 2 [1]',
    failed: 'settled failed, half 1 [1]',
    'hello 2': 'waiting 2, half 1 [-]',
    cancelling: 'settled cancelled, half 1 [1]',
    'ended well': 'writing 1, unasked [1]',
    'ended badly': 'writing 1, unasked [1]',
  },
  writing: {
    written: 'proving 2 [1]',
    failed: 'settled failed, half 1 [1]',
    'ended well': 'writing 2, unasked [1]',
    'ended badly': 'writing 2, unasked [1]',
  },
  'writing, first': {
    written: 'proving 2 [1]',
    failed: 'settled failed, half 2 [1]',
    'ended well': 'writing 2, unasked [1]',
    'ended badly': 'writing 2, unasked [1]',
  },
  mending: { offered: 'checking 3, half 1 [1]', written: 'proving 2, unasked [1]' },
  proving: {
    'hello 1': 'settled failed [-]',
    'hello 2': 'proving 2, up [1]',
    silent: 'restoring 1 [1]',
    'silent, gone': 'settled failed [-]',
    'ended well': 'idle [2]',
    'ended badly': 'proving 2, unasked [1]',
  },
  'proving, first': {
    'hello 1': 'settled failed [-]',
    'hello 2': 'proving 2, up [1]',
    silent: 'settled failed [-]',
    'silent, gone': 'settled failed [-]',
    'ended well': 'idle [2]',
    'ended badly': 'proving 2, unasked [1]',
  },
  'proving, up': {
    'hello 1': 'settled failed [-]',
    'ended well': 'idle [2]',
    'ended badly': 'idle [2]',
  },
  'proving, by hand': {
    'hello 1': 'settled failed [-]',
    'hello 2': 'idle [2]',
    silent: 'restoring 1 [1]',
    'silent, gone': 'settled failed [-]',
  },
  'proving, mended': {
    'hello 1': 'idle [-]',
    'hello 2': 'idle [2]',
    silent: 'restoring 1, unasked [1]',
    'silent, gone': 'idle [-]',
  },
  restoring: {
    written: 'returning 1 [1]',
    failed: 'settled failed, half 1 [1]',
    'hello 1': 'settled rolled_back [1]',
    'hello 2': 'writing 2 [1]',
    'ended well': 'restoring 1, unasked [1]',
    'ended badly': 'restoring 1, unasked [1]',
  },
  'restoring, unasked': {
    written: 'returning 1, unasked [1]',
    failed: 'writing 1, unasked [1]',
    'hello 1': 'idle [1]',
    'hello 2': 'writing 2, unasked [1]',
  },
  returning: {
    'hello 1': 'settled rolled_back [1]',
    'hello 2': 'settled rolled_back [-]',
    silent: 'settled failed [-]',
    'silent, gone': 'settled failed [-]',
    'ended well': 'returning 1, unasked [1]',
    'ended badly': 'returning 1, unasked [1]',
  },
  'returning, unasked': {
    'hello 1': 'idle [1]',
    'hello 2': 'idle [-]',
    silent: 'idle [-]',
    'silent, gone': 'idle [-]',
  },
  settled: {
    'hello 2': 'settled failed [-]',
    'ended well': 'idle [1]',
    'ended badly': 'idle [1]',
    told: 'idle [1]',
  },
  'settled, half': {
    'hello 2': 'settled failed, half 1 [-]',
    'ended well': 'writing 1, unasked [1]',
    'ended badly': 'writing 1, unasked [1]',
    told: 'writing 1, unasked [1]',
  },
};

t.test(
  'decides on every event in every phase, and leaves alone what it says nothing to',
  async (t) => {
    for (const [phase, flash] of Object.entries(phases)) {
      const wanted = expected[phase as keyof typeof phases];
      for (const [name, event] of Object.entries(events)) {
        const before: FlashState = { flash, running: one };
        const after = next(before, event);
        const expectation = wanted[name as keyof typeof events];
        if (expectation === undefined) t.equal(after, before, `${phase}: ${name}`);
        else t.equal(shown(after), expectation, `${phase}: ${name}`);
      }
    }
  },
);

t.test(
  'takes an offer twice for the same, and a board that is half written for what it mends',
  async (t) => {
    const taken = next(unflashed, { type: 'offered', run, image: two });
    t.equal(next(taken, { type: 'offered', run, image: two }), taken);
    const half: FlashState = { flash: phases['waiting, half'], running: null };
    const retried = next(half, { type: 'began', former: three });
    t.match(retried.flash, { phase: 'writing', former: one }, 'what ran before the first attempt');
    const same = next({ flash: phases.waiting, running: null }, { type: 'began', former: two });
    t.match(same.flash, { former: null }, 'the same image is nothing to go back to');
  },
);

t.test('whatever else a mute board says at last, what ran before is written', async (t) => {
  const before: FlashState = { flash: phases.restoring, running: one };
  t.equal(next(before, { type: 'hello', version: '3' }), before);
});

t.test('names what has to stay in the cache, and for whom it is', async (t) => {
  const versions = (flash: Flash) =>
    imagesOf({ flash, running: one }).map(({ version }) => version);
  t.same(versions(phases.idle), ['1']);
  t.same(versions(phases.writing), ['1', '2', '1']);
  t.same(versions(phases['waiting, half']), ['1', '2', '1']);
  t.same(versions(phases['settled, half']), ['1', '1']);
  t.equal(runOf(unflashed), null);
  t.equal(runOf({ flash: phases.mending, running: null }), null);
  t.same(runOf({ flash: phases.settled, running: null }), run);
});

t.test('says what to do next where a board stays mute', async (t) => {
  const mute = next({ flash: phases['proving, first'], running: null }, events['silent, gone']);
  t.match(mute.flash, { error: /said no hello; what ran before is not known.*Another release/ });
  const evicted = next({ flash: phases.proving, running: null }, events['silent, gone']);
  t.match(evicted.flash, { error: /what ran before \(1\) is not in the cache/ });
  const dead = next({ flash: phases.returning, running: null }, events.silent);
  t.match(dead.flash, { outcome: 'failed', error: /power and its wiring/ });
});
