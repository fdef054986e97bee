import fc from 'fast-check';
import t from 'tap';
import {
  beginClock,
  type ClockEvent,
  type ClockReading,
  type ClockState,
  clockRules,
  doubtAt,
  nextClock,
  offsetAt,
  timeAt,
} from './clock-trust.js';

const day = 86_400_000;
const year = 365 * day;
const built = Date.UTC(2026, 0, 1);
const noon = Date.UTC(2026, 0, 20, 12);
const { stepMs } = clockRules;

const at = (system: number, monotonic = 1_000): ClockReading => ({ system, monotonic });
const begin = (reading: ClockReading, rtc: number | null = null, floor = built): ClockState =>
  beginClock({ floor, before: undefined, rtc }, reading);
/** Does one thing after the other at the same moment. */
const after = (state: ClockState, reading: ClockReading, ...events: ClockEvent[]): ClockState =>
  events.reduce((before, event) => nextClock(before, event, reading).state, state);
const kinds = (state: ClockState, event: ClockEvent, reading: ClockReading): string[] =>
  nextClock(state, event, reading).effects.map((effect) => effect.do);
const ticked: ClockEvent = { type: 'ticked' };
const synchronised: ClockEvent = { type: 'synchronised', errorMs: 10 };
const signed = (time: number, errorMs = 20): ClockEvent => ({ type: 'signed', time, errorMs });

t.test(
  'a machine without a battery starts in the past: nobody believes it, and it is never below the floor',
  async (t) => {
    const reading = at(5_000);
    const state = begin(reading, null, noon);
    t.equal(doubtAt(state, reading), 'below_floor');
    t.equal(timeAt(state, reading), noon);
    t.equal(timeAt(state, at(15_000, 11_000)), noon + 10_000, 'and it goes on from there');
    t.equal(doubtAt(state, at(noon + day)), 'unset', 'being above the floor alone proves nothing');
  },
);

t.test(
  'a battery-backed clock is believed when the system has its time and it is plausible',
  async (t) => {
    const reading = at(noon);
    t.equal(doubtAt(begin(reading, noon + 1_000), reading), undefined);
    t.equal(doubtAt(begin(reading, noon - 3_600_000), reading), 'unset', 'it runs in local time');
    t.equal(doubtAt(begin(at(1_000), 1_000), at(1_000)), 'below_floor', 'its battery is empty');
    t.equal(
      doubtAt(begin(reading, noon, noon - year), reading),
      'long_off',
      'it may have gone wild',
    );
  },
);

t.test('NTP and signed time settle any doubt', async (t) => {
  for (const rtc of [null, noon]) {
    const reading = at(noon);
    const state = begin(reading, rtc, noon - year);
    t.not(doubtAt(state, reading), undefined);
    for (const event of [synchronised, signed(noon)]) {
      t.equal(doubtAt(after(state, reading, event), reading), undefined);
    }
  }
});

t.test('signed time puts a wrong clock right without setting it', async (t) => {
  const reading = at(5_000);
  const state = after(begin(reading), reading, signed(noon));
  t.equal(timeAt(state, reading), noon);
  t.equal(timeAt(state, at(65_000, 61_000)), noon + 60_000);
  t.equal(state.source, 'signed');
  t.equal(state.offset, noon - 5_000);
});

t.test('signed time that says what is known already changes no time', async (t) => {
  const reading = at(noon);
  const state = after(begin(reading), reading, synchronised);
  const again = after(state, reading, signed(noon + 60));
  t.equal(timeAt(again, reading), noon);
  t.equal(again.source, 'ntp');
});

t.test(
  'a jump either way is not followed, and believed by nobody until somebody who knows has spoken',
  async (t) => {
    for (const jump of [year, -year, stepMs + 1, -stepMs - 1]) {
      const reading = at(noon);
      const state = begin(reading, noon);
      const jumped = at(noon + jump + 1_000, 2_000);
      t.equal(doubtAt(state, jumped), 'jumped', 'at once');
      t.equal(timeAt(state, jumped), noon + 1_000);
      t.same(kinds(state, ticked, jumped), ['doubt', 'save']);
      const doubted = after(state, jumped, ticked);
      t.equal(doubtAt(doubted, jumped), 'jumped');
      const back = after(doubted, at(noon + 5_000, 6_000), ticked);
      t.equal(doubtAt(back, at(noon + 5_000, 6_000)), undefined, 'undone, it was none');
      const right = after(doubted, jumped, signed(noon + 1_000));
      t.equal(doubtAt(right, jumped), undefined);
      t.equal(timeAt(right, jumped), noon + 1_000);
      const said = after(doubted, jumped, { type: 'asserted', time: null });
      // Where it went back below the floor nobody at the site is believed.
      if (jumped.system > doubted.floor) t.equal(timeAt(said, jumped), jumped.system);
      else t.equal(doubtAt(said, jumped), 'jumped');
    }
  },
);

t.test(
  'a step within the bound is followed, many of them only until they add up to it',
  async (t) => {
    let state = begin(at(noon), noon);
    let reading = at(noon);
    for (let step = 1; step <= 10; step++) {
      reading = at(noon + step * (60_000 + 1_000), 1_000 + step * 1_000);
      state = after(state, reading, ticked);
    }
    t.equal(doubtAt(state, reading), 'jumped');
    t.equal(timeAt(state, reading), noon + 10_000);
  },
);

t.test('one wild year is undone by signed time', async (t) => {
  const wild = at(noon + year);
  const misled = after(begin(wild), wild, synchronised, ticked);
  t.equal(misled.floor, noon + year, 'it was believed, and raised the floor');
  const right = after(misled, wild, signed(noon));
  t.equal(doubtAt(right, wild), undefined);
  t.equal(timeAt(right, wild), noon);
  t.ok(right.floor <= noon);
});

t.test('what a person says raises no floor and gives way to the control plane', async (t) => {
  const reading = at(5_000);
  const state = after(begin(reading), reading, { type: 'asserted', time: noon + year }, ticked);
  t.equal(timeAt(state, reading), noon + year);
  t.equal(state.floor, built);
  t.equal(doubtAt(after(state, reading, { type: 'contradicted' }), reading), 'contradicted');
  t.equal(timeAt(after(state, reading, { type: 'asserted', time: noon }), reading), noon);
  const low = after(begin(reading), reading, { type: 'asserted', time: built - day });
  t.equal(low.source, null, 'nobody says what is below the floor');
  const known = after(begin(reading), reading, signed(noon), {
    type: 'asserted',
    time: built + day,
  });
  t.equal(timeAt(known, reading), noon, 'nor against the control plane');
});

t.test(
  'the control plane contradicts only those who are believed for want of better',
  async (t) => {
    const reading = at(noon);
    const contradicted: ClockEvent = { type: 'contradicted' };
    t.equal(doubtAt(after(begin(reading, noon), reading, contradicted), reading), 'contradicted');
    for (const event of [synchronised, signed(noon)]) {
      t.equal(doubtAt(after(begin(reading), reading, event, contradicted), reading), undefined);
    }
  },
);

t.test('what was signed later than now shows that the clock is behind', async (t) => {
  const reading = at(noon);
  const state = begin(reading, noon);
  const seen = after(state, reading, { type: 'signature_seen', time: noon + day });
  t.equal(doubtAt(seen, reading), 'below_floor');
  t.equal(timeAt(seen, reading), noon + day);
  const close = after(state, reading, { type: 'signature_seen', time: noon + 1_000 });
  t.equal(doubtAt(close, reading), undefined, 'a second proves nothing');
});

t.test('tells once what the stamps of a boot mean, and again when that was wrong', async (t) => {
  const reading = at(5_000, 4_000);
  const step = nextClock(begin(reading), signed(noon), reading);
  const [told] = step.effects.filter((effect) => effect.do === 'tell');
  t.same(told, { do: 'tell', offset: noon - 4_000, source: 'signed' });
  const known = after(step.state, reading, { type: 'told', offset: noon - 4_000 });
  t.notOk(kinds(known, ticked, at(6_000, 5_000)).includes('tell'));
  t.ok(kinds(known, signed(noon + day), reading).includes('tell'));
});

t.test('goes on with what it knew when only the program restarts', async (t) => {
  const reading = at(5_000);
  const { floor, ...before } = after(begin(reading), reading, signed(noon));
  const again = beginClock({ floor, before, rtc: null }, at(65_000, 61_000));
  t.equal(doubtAt(again, at(65_000, 61_000)), undefined);
  t.equal(timeAt(again, at(65_000, 61_000)), noon + 60_000);
  const jumped = at(noon * 2, 61_000);
  t.equal(doubtAt(again, jumped), 'jumped', 'set while it was away');
});

/** Any event, with times around those of the test. */
const times = fc
  .integer({ min: -2, max: 2 })
  .chain((years) => fc.integer({ min: -day, max: day }).map((ms) => noon + years * year + ms));
const events: fc.Arbitrary<ClockEvent> = fc.oneof(
  fc.constant<ClockEvent>({ type: 'ticked' }),
  fc.constant<ClockEvent>({ type: 'contradicted' }),
  fc.nat(2_000).map((errorMs): ClockEvent => ({ type: 'synchronised', errorMs })),
  fc.tuple(times, fc.nat(2_000)).map(([time, errorMs]) => signed(time, errorMs)),
  fc.option(times).map((time): ClockEvent => ({ type: 'asserted', time })),
  times.map((time): ClockEvent => ({ type: 'signature_seen', time })),
  times.map((offset): ClockEvent => ({ type: 'told', offset })),
);
/** What happens to the machine before the event: time passes, and somebody may set the clock. */
const moves = fc.record({
  passed: fc.nat(3_600_000),
  set: fc.option(times, { freq: 3 }),
});

t.test('every state and every event: what must always hold', async (t) => {
  const property = fc.property(
    times,
    fc.option(times),
    fc.boolean(),
    fc.array(fc.tuple(moves, events), { maxLength: 40 }),
    (start, rtc, isRight, steps) => {
      let reading = at(start);
      let state = begin(reading, isRight ? start : rtc);
      for (const [{ passed, set }, event] of steps) {
        reading = at(set ?? reading.system + passed, reading.monotonic + passed);
        const step = nextClock(state, event, reading);
        check(state, event, reading, step);
        state = step.state;
      }
    },
  );
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2_000 }));
});

const check = (
  before: ClockState,
  event: ClockEvent,
  reading: ClockReading,
  { state, effects }: ReturnType<typeof nextClock>,
): void => {
  const say = (holds: boolean, what: string) => {
    if (!holds) throw new Error(`${what}: ${JSON.stringify({ before, event, reading, state })}`);
  };
  const now = timeAt(state, reading);
  const doubt = doubtAt(state, reading);
  const wasTrusted = doubtAt(before, reading) === undefined;
  const confirms = ['synchronised', 'signed', 'asserted'].includes(event.type);
  say(state.floor >= before.floor || event.type === 'signed', 'only signed time lowers the floor');
  say(
    state.floor === before.floor || doubt === undefined || event.type === 'signature_seen',
    'only a trusted clock or a signature raises it',
  );
  say(event.type !== 'signed' || doubt === undefined, 'signed time is believed');
  if (event.type === 'signed') {
    say(Math.abs(now - event.time) <= event.errorMs + 50, 'and it is that time');
  }
  say(now >= state.floor - stepMs, 'never below the floor');
  say(wasTrusted || doubt !== undefined || confirms || before.doubt === 'jumped', 'trust is given');
  if (state.source !== null) {
    const line = state.origin + reading.monotonic;
    say(Math.abs(now - line) <= stepMs, 'time stays near what was confirmed');
  }
  if (!confirms && event.type !== 'signature_seen') {
    say(state.origin === before.origin && state.offset === before.offset, 'nobody else sets it');
  }
  const again = nextClock(state, { type: 'ticked' }, reading);
  const settled = { ...again.state, told: state.told };
  say(JSON.stringify(settled) === JSON.stringify(state), 'at the same moment nothing more happens');
  say(
    !again.effects.some((effect) => effect.do === 'trust' || effect.do === 'doubt'),
    'and nothing is said twice',
  );
  const tells = effects.find((effect) => effect.do === 'tell');
  say(tells === undefined || doubt === undefined, 'only what is believed is told');
  say(tells === undefined || tells.offset === offsetAt(state, reading), 'and as it is');
};
