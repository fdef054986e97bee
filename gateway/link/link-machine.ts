/**
 * The connection to the control plane as one pure function: what it is, what happened, what it is then and what has to be done.
 * `now` is monotonic milliseconds, so that a clock that is set does not look like a dead line.
 */

export type LinkState =
  | { readonly phase: 'stopped' }
  | { readonly phase: 'waiting'; readonly failures: number; readonly reason: string }
  /** The stream is asked for and `hello` is on its way; nothing but the welcome may come now. */
  | { readonly phase: 'greeting'; readonly failures: number; readonly deadline: number }
  | {
      readonly phase: 'live';
      readonly failures: number;
      readonly since: number;
      readonly heardAt: number;
      readonly pingedAt: number;
      readonly pings: number;
      readonly keepaliveMs: number;
      /** Another gateway owns the site: only the journal is still taken from us. */
      readonly isFenced: boolean;
    };

export type Heard =
  | { readonly kind: 'welcome'; readonly keepaliveMs: number }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'ping'; readonly id: bigint }
  | { readonly kind: 'pong' }
  /** Anything of journal, plan or orders. */
  | { readonly kind: 'content' };

export type LinkEvent =
  | { readonly type: 'started'; readonly now: number }
  | { readonly type: 'stopped' }
  | { readonly type: 'woke'; readonly now: number }
  | { readonly type: 'heard'; readonly now: number; readonly what: Heard }
  | { readonly type: 'broke'; readonly now: number; readonly reason: string };

export type LinkEffect =
  /** Open a stream and say hello. */
  | { readonly do: 'dial' }
  | { readonly do: 'hang-up' }
  | { readonly do: 'ping'; readonly id: bigint }
  | { readonly do: 'pong'; readonly id: bigint }
  /** Take up journal, plan and orders where the welcome says they stand. */
  | { readonly do: 'meet' }
  /** Give up plan and orders; hand over the journal, from where the control plane goes on to say it stands. */
  | { readonly do: 'hand-over' }
  /** Hand the message that was heard to journal, plan or orders. */
  | { readonly do: 'deliver' }
  /** The connection that was met is over. */
  | { readonly do: 'part'; readonly reason: string }
  | { readonly do: 'refused'; readonly code: string; readonly message: string }
  | { readonly do: 'wake-at'; readonly at: number }
  /** Wake after a random time up to a limit that grows with `failures`; a refusal that no waiting cures has the longest. */
  | { readonly do: 'wake-after-backoff'; readonly failures: number; readonly patient: boolean };

export interface Step {
  readonly state: LinkState;
  readonly effects: readonly LinkEffect[];
}

export interface LinkTimes {
  /** How long a welcome may take, connecting included. */
  readonly welcomeTimeoutMs: number;
}

/** A control plane that states an absurd keepalive neither floods the line nor leaves a dead one unnoticed. */
const keepaliveBounds = { min: 100, max: 300_000 };
const bound = (ms: number): number =>
  Math.min(keepaliveBounds.max, Math.max(keepaliveBounds.min, ms));

/** How often to ping a control plane that refused us and did not say. */
const handOverKeepaliveMs = 30_000;

/** When a silent line is given up. */
const silentAt = (live: { heardAt: number; keepaliveMs: number }): number =>
  live.heardAt + 1.5 * live.keepaliveMs;

const dial = (failures: number, now: number, times: LinkTimes): Step => {
  const deadline = now + times.welcomeTimeoutMs;
  return {
    state: { phase: 'greeting', failures, deadline },
    effects: [{ do: 'dial' }, { do: 'wake-at', at: deadline }],
  };
};

const giveUp = (
  state: Extract<LinkState, { phase: 'greeting' | 'live' }>,
  now: number,
  reason: string,
  patient = false,
): Step => {
  // One that held for a while was good: its break says nothing about the next attempt.
  const wasGood = state.phase === 'live' && now - state.since >= state.keepaliveMs;
  const failures = wasGood ? 1 : state.failures + 1;
  const isPatient = patient || (state.phase === 'live' && state.isFenced);
  return {
    state: { phase: 'waiting', failures, reason },
    effects: [
      { do: 'hang-up' },
      ...(state.phase === 'live' ? [{ do: 'part', reason } as const] : []),
      { do: 'wake-after-backoff', failures, patient: isPatient },
    ],
  };
};

const stay = (state: LinkState, effects: readonly LinkEffect[] = []): Step => ({ state, effects });

export const next = (state: LinkState, event: LinkEvent, times: LinkTimes): Step => {
  if (event.type === 'stopped') {
    const effects: LinkEffect[] = [];
    if (state.phase === 'greeting' || state.phase === 'live') effects.push({ do: 'hang-up' });
    if (state.phase === 'live') effects.push({ do: 'part', reason: 'stopped' });
    return { state: { phase: 'stopped' }, effects };
  }
  switch (state.phase) {
    case 'stopped':
      return event.type === 'started' ? dial(0, event.now, times) : stay(state);
    case 'waiting':
      return event.type === 'woke' ? dial(state.failures, event.now, times) : stay(state);
    case 'greeting':
      return greet(state, event);
    case 'live':
      return live(state, event);
  }
};

const greet = (
  state: Extract<LinkState, { phase: 'greeting' }>,
  event: Exclude<LinkEvent, { type: 'stopped' }>,
): Step => {
  switch (event.type) {
    case 'started':
      return stay(state);
    case 'broke':
      return giveUp(state, event.now, event.reason);
    case 'woke':
      return event.now >= state.deadline
        ? giveUp(state, event.now, 'no welcome in time')
        : stay(state, [{ do: 'wake-at', at: state.deadline }]);
    case 'heard':
      break;
  }
  const { now, what } = event;
  if (what.kind === 'welcome') {
    return take(state.failures, now, { keepaliveMs: bound(what.keepaliveMs), isFenced: false });
  }
  if (what.kind === 'refused') return refuse(state, now, what);
  return giveUp(state, now, 'the control plane spoke before its welcome');
};

/** A line that is live from now on. */
const take = (
  failures: number,
  now: number,
  { keepaliveMs, isFenced }: { keepaliveMs: number; isFenced: boolean },
): Step => ({
  state: {
    phase: 'live',
    failures,
    since: now,
    heardAt: now,
    pingedAt: now,
    pings: 0,
    keepaliveMs,
    isFenced,
  },
  effects: [{ do: isFenced ? 'hand-over' : 'meet' }, { do: 'wake-at', at: now + keepaliveMs }],
});

/** A refusal ends the connection, but for the one that leaves us the journal to hand over. */
const refuse = (
  state: Extract<LinkState, { phase: 'greeting' | 'live' }>,
  now: number,
  what: Extract<Heard, { kind: 'refused' }>,
): Step => {
  const step =
    what.code === 'GATEWAY_FENCED'
      ? fence(state, now)
      : giveUp(state, now, `refused: ${what.code}`, true);
  return {
    state: step.state,
    effects: [{ do: 'refused', code: what.code, message: what.message }, ...step.effects],
  };
};

const fence = (state: Extract<LinkState, { phase: 'greeting' | 'live' }>, now: number): Step => {
  if (state.phase === 'greeting') {
    return take(state.failures, now, { keepaliveMs: handOverKeepaliveMs, isFenced: true });
  }
  const fenced = { ...state, heardAt: now, isFenced: true };
  return stay(fenced, state.isFenced ? [] : [{ do: 'hand-over' }]);
};

const live = (
  state: Extract<LinkState, { phase: 'live' }>,
  event: Exclude<LinkEvent, { type: 'stopped' }>,
): Step => {
  switch (event.type) {
    case 'started':
      return stay(state);
    case 'broke':
      return giveUp(state, event.now, event.reason);
    case 'woke':
      return tick(state, event.now);
    case 'heard':
      break;
  }
  const { now, what } = event;
  const heard = { ...state, heardAt: now };
  switch (what.kind) {
    case 'welcome':
      return giveUp(state, now, 'a second welcome');
    case 'refused':
      return refuse(state, now, what);
    case 'ping':
      return stay(heard, [{ do: 'pong', id: what.id }]);
    case 'pong':
      return stay(heard);
    case 'content':
      return stay(heard, [{ do: 'deliver' }]);
  }
};

const tick = (state: Extract<LinkState, { phase: 'live' }>, now: number): Step => {
  if (now >= silentAt(state)) return giveUp(state, now, 'the line is silent');
  const isDue = now - state.pingedAt >= state.keepaliveMs;
  const pinged = isDue ? { ...state, pingedAt: now, pings: state.pings + 1 } : state;
  return stay(pinged, [
    ...(isDue ? [{ do: 'ping', id: BigInt(pinged.pings) } as const] : []),
    { do: 'wake-at', at: Math.min(pinged.pingedAt + pinged.keepaliveMs, silentAt(pinged)) },
  ]);
};
