import t from 'tap';
import {
  type Heard,
  type LinkEffect,
  type LinkEvent,
  type LinkState,
  next,
} from './link-machine.js';

const failuresOf = (effects: readonly LinkEffect[]) =>
  effects.find((effect) => effect.do === 'wake-after-backoff');

const times = { welcomeTimeoutMs: 5000 };
const states: Record<LinkState['phase'], LinkState> = {
  stopped: { phase: 'stopped' },
  waiting: { phase: 'waiting', failures: 3, reason: 'x' },
  greeting: { phase: 'greeting', failures: 3, deadline: 6000 },
  live: {
    phase: 'live',
    failures: 3,
    since: 0,
    heardAt: 900,
    pingedAt: 0,
    pings: 4,
    keepaliveMs: 1000,
    isFenced: false,
  },
};
const heard = (what: Heard): LinkEvent => ({ type: 'heard', now: 1000, what });
const events = {
  started: { type: 'started', now: 1000 },
  stopped: { type: 'stopped' },
  woke: { type: 'woke', now: 1000 },
  broke: { type: 'broke', now: 1000, reason: 'reset' },
  welcome: heard({ kind: 'welcome', keepaliveMs: 1000 }),
  refused: heard({ kind: 'refused', code: 'GATEWAY_CLONED', message: 'm' }),
  fenced: heard({ kind: 'refused', code: 'GATEWAY_FENCED', message: 'm' }),
  ping: heard({ kind: 'ping', id: 9n }),
  pong: heard({ kind: 'pong' }),
  content: heard({ kind: 'content' }),
} satisfies Record<string, LinkEvent>;

/** Every state × every event: the phase that follows, and what is done. */
const table: Record<LinkState['phase'], Record<keyof typeof events, string>> = {
  stopped: {
    started: 'greeting: dial wake-at',
    stopped: 'stopped:',
    woke: 'stopped:',
    broke: 'stopped:',
    welcome: 'stopped:',
    fenced: 'stopped:',
    refused: 'stopped:',
    ping: 'stopped:',
    pong: 'stopped:',
    content: 'stopped:',
  },
  waiting: {
    started: 'waiting:',
    stopped: 'stopped:',
    woke: 'greeting: dial wake-at',
    broke: 'waiting:',
    welcome: 'waiting:',
    fenced: 'waiting:',
    refused: 'waiting:',
    ping: 'waiting:',
    pong: 'waiting:',
    content: 'waiting:',
  },
  greeting: {
    started: 'greeting:',
    stopped: 'stopped: hang-up',
    woke: 'greeting: wake-at',
    broke: 'waiting: hang-up wake-after-backoff',
    welcome: 'live: meet wake-at',
    fenced: 'live: refused hand-over wake-at',
    refused: 'waiting: refused hang-up wake-after-backoff',
    ping: 'waiting: hang-up wake-after-backoff',
    pong: 'waiting: hang-up wake-after-backoff',
    content: 'waiting: hang-up wake-after-backoff',
  },
  live: {
    started: 'live:',
    stopped: 'stopped: hang-up part',
    woke: 'live: ping wake-at',
    broke: 'waiting: hang-up part wake-after-backoff',
    welcome: 'waiting: hang-up part wake-after-backoff',
    fenced: 'live: refused hand-over',
    refused: 'waiting: refused hang-up part wake-after-backoff',
    ping: 'live: pong',
    pong: 'live:',
    content: 'live: deliver',
  },
};

for (const [phase, row] of Object.entries(table)) {
  for (const [name, expected] of Object.entries(row)) {
    t.test(`${phase} × ${name}`, async (t) => {
      const state = states[phase as LinkState['phase']];
      const step = next(state, events[name as keyof typeof events], times);
      t.equal([`${step.state.phase}:`, ...step.effects.map((e) => e.do)].join(' '), expected);
    });
  }
}

t.test(
  'gives a silent line up 1.5 × keepalive after the last message, and never earlier',
  async (t) => {
    const wake = (now: number) => next(states.live, { type: 'woke', now }, times);
    t.equal(wake(2399).state.phase, 'live');
    t.equal(wake(2400).state.phase, 'waiting');
    const at = wake(1000).effects.find((e) => e.do === 'wake-at');
    t.same(at, { do: 'wake-at', at: 2000 }, 'the next ping');
    const later = next(wake(2000).state, { type: 'woke', now: 2100 }, times);
    t.same(later.effects, [{ do: 'wake-at', at: 2400 }], 'then the end, with no ping between');
  },
);

t.test('gives a welcome its time and not more', async (t) => {
  const late = next(states.greeting, { type: 'woke', now: 6000 }, times);
  t.equal(late.state.phase, 'waiting');
});

t.test(
  'waits longer after each failure, and starts over after a connection that held',
  async (t) => {
    t.match(failuresOf(next(states.greeting, events.broke, times).effects), { failures: 4 });
    t.match(failuresOf(next(states.live, events.broke, times).effects), { failures: 1 });
    const short = next(states.live, { type: 'broke', now: 999, reason: 'reset' }, times);
    t.match(
      failuresOf(short.effects),
      { failures: 4 },
      'one that did not hold counts as a failure',
    );
    t.match(failuresOf(next(states.greeting, events.refused, times).effects), { patient: true });
  },
);

t.test('hands its journal over when it is fenced, and then does not hurry back', async (t) => {
  const fenced = next(states.greeting, events.fenced, times).state;
  t.match(fenced, { phase: 'live', isFenced: true });
  t.same(
    next(fenced, events.fenced, times).effects.map((e) => e.do),
    ['refused'],
  );
  t.match(failuresOf(next(fenced, events.broke, times).effects), { patient: true });
});

t.test('does not believe an absurd keepalive', async (t) => {
  const with0 = next(states.greeting, heard({ kind: 'welcome', keepaliveMs: 0 }), times);
  t.match(with0.state, { keepaliveMs: 100 });
});
