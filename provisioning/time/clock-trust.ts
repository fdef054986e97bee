/**
 * Whether the clock may be believed, as one pure function (DESIGN.md, "Time"): what is known of it, what happened, what is known then.
 *
 * Two clocks are read together: the system's, which anybody may set, and the monotonic one, which runs as evenly and cannot be set. What
 * was confirmed once is a line on the monotonic clock. As long as the system's stays near that line it is followed; where it leaves it,
 * time goes on along the line, and nobody believes it until somebody who knows has said which of the two is right.
 */

/** Who said what time it is. `rtc` and `operator` are believed for want of better, and give way to a control plane that differs. */
export type ClockSource = 'rtc' | 'ntp' | 'signed' | 'operator';

/**
 * `unset`: nobody has set it since the machine started. `below_floor`: it is before a time that is known to have passed. `jumped`: it was
 * set while the program ran, by nobody known. `long_off`: the machine's battery-backed clock alone says that it was off for very long.
 * `contradicted`: the control plane is certified for another time.
 */
export type ClockDoubt = 'unset' | 'below_floor' | 'jumped' | 'long_off' | 'contradicted';

/** Both clocks at one moment, ms. */
export interface ClockReading {
  readonly system: number;
  readonly monotonic: number;
}

export interface ClockState {
  /** Epoch ms; it is later than that. */
  readonly floor: number;
  /** Who set it since the machine started. */
  readonly source: ClockSource | null;
  readonly doubt: 'jumped' | 'long_off' | 'contradicted' | null;
  /** The line: epoch ms when the monotonic clock was at zero. */
  readonly origin: number;
  /** To be added to the system's clock, ms; it is never set from here. */
  readonly offset: number;
  /** How far off the one who set it may have been, ms. */
  readonly errorMs: number;
  /** The last offset that the journal of this boot has. */
  readonly told: number | null;
}

export type ClockEvent =
  | { readonly type: 'ticked' }
  /** NTP that may be believed says that the system's clock is synchronised. */
  | { readonly type: 'synchronised'; readonly errorMs: number }
  /** Signed time that answers our own question. */
  | { readonly type: 'signed'; readonly time: number; readonly errorMs: number }
  /** Somebody in front of the machine says so; null: the system's clock is right. */
  | { readonly type: 'asserted'; readonly time: number | null }
  /** Something was signed at that time, by a signature found good: it is at least so late. */
  | { readonly type: 'signature_seen'; readonly time: number }
  /** The control plane's certificate is not valid at the time that we believe it is. */
  | { readonly type: 'contradicted' }
  | { readonly type: 'told'; readonly offset: number };

export type ClockEffect =
  /** The record is to be stored. */
  | { readonly do: 'save' }
  /** What the stamps of this boot mean is to be told: it is not known yet, or was told wrong. */
  | { readonly do: 'tell'; readonly offset: number; readonly source: ClockSource }
  | { readonly do: 'trust'; readonly source: ClockSource; readonly step: number }
  | { readonly do: 'doubt'; readonly reason: ClockDoubt; readonly step: number };

export interface ClockStep {
  readonly state: ClockState;
  readonly effects: readonly ClockEffect[];
}

export interface ClockRules {
  /** How far the system's clock may be from the line; also how far below the floor a time may be, ms. */
  readonly stepMs: number;
  /** How far from the system's clock a battery-backed one may be to vouch for it, ms. */
  readonly rtcMs: number;
  /** How long a machine may have been off by the word of its battery-backed clock alone, ms. */
  readonly longOffMs: number;
  /** How far the floor may fall behind before it is stored again, ms. */
  readonly saveEveryMs: number;
}

export const clockRules: ClockRules = {
  stepMs: 300_000,
  rtcMs: 60_000,
  longOffMs: 30 * 86_400_000,
  saveEveryMs: 900_000,
};

/** What was told is told again when it was off by this much. */
const retellMs = 1_000;
/** Two readings of the same clock that come over a network differ by as much. */
const sameMs = 50;

export interface ClockBeginning {
  readonly floor: number;
  /** What was known when the program ended, in this same boot of the machine. */
  readonly before: Omit<ClockState, 'floor'> | undefined;
  /** What the battery-backed clock says, epoch ms; null where there is none. */
  readonly rtc: number | null;
}

/** The state at the start of the program. A battery-backed clock is asked once: later it says only what it was set to. */
export const beginClock = (
  { floor, before, rtc }: ClockBeginning,
  reading: ClockReading,
  rules: ClockRules = clockRules,
): ClockState => {
  if (before !== undefined) return { ...before, floor };
  const { system, monotonic } = reading;
  const unset: ClockState = {
    floor,
    source: null,
    doubt: null,
    origin: floor - monotonic,
    offset: 0,
    errorMs: 0,
    told: null,
  };
  const isVouchedFor = rtc !== null && Math.abs(rtc - system) <= rules.rtcMs;
  if (!isVouchedFor || system < floor - rules.stepMs) return unset;
  return {
    ...unset,
    source: 'rtc',
    doubt: system - floor > rules.longOffMs ? 'long_off' : null,
    origin: system - monotonic,
    errorMs: 1_000,
  };
};

/** What time it is; while nobody has said so the system's clock, but never below the floor. Epoch ms. */
export const timeAt = (
  { origin, offset, source }: ClockState,
  { system, monotonic }: ClockReading,
  { stepMs }: ClockRules = clockRules,
): number => {
  const line = origin + monotonic;
  const own = system + offset;
  if (source === null) return Math.max(own, line);
  return Math.abs(own - line) <= stepMs ? own : line;
};

/** Why the clock is not believed; undefined when it is. */
export const doubtAt = (
  state: ClockState,
  reading: ClockReading,
  rules: ClockRules = clockRules,
): ClockDoubt | undefined => {
  const { source, doubt, floor } = state;
  if (source === null) return reading.system < floor - rules.stepMs ? 'below_floor' : 'unset';
  if (doubt !== null) return doubt;
  if (Math.abs(stepAt(state, reading)) > rules.stepMs) return 'jumped';
  return timeAt(state, reading, rules) < floor - rules.stepMs ? 'below_floor' : undefined;
};

/** Epoch ms at the zero of the monotonic clock, whole: what makes a time of a stamp. */
export const offsetAt = (
  state: ClockState,
  reading: ClockReading,
  rules: ClockRules = clockRules,
): number => Math.round(timeAt(state, reading, rules) - reading.monotonic);

export const nextClock = (
  before: ClockState,
  event: ClockEvent,
  reading: ClockReading,
  rules: ClockRules = clockRules,
): ClockStep => {
  const state = raiseFloor(
    settle(decide(before, event, reading, rules), reading, rules),
    reading,
    rules,
  );
  return { state, effects: effectsOf(before, state, event, reading, rules) };
};

const decide = (
  state: ClockState,
  event: ClockEvent,
  reading: ClockReading,
  rules: ClockRules,
): ClockState => {
  switch (event.type) {
    case 'ticked':
      return state;
    case 'told':
      return { ...state, told: event.offset };
    case 'synchronised':
      return synchronise(state, event.errorMs, reading, rules);
    case 'signed':
      return sign(state, event, reading, rules);
    case 'asserted':
      return assert(state, event.time, reading, rules);
    case 'signature_seen':
      return seeSignature(state, event.time, reading, rules);
    case 'contradicted': {
      const isWeak = state.source === 'rtc' || state.source === 'operator';
      return isWeak && state.doubt === null ? { ...state, doubt: 'contradicted' } : state;
    }
  }
};

/** How far the system's clock has left the line. */
const stepAt = ({ origin, offset, source }: ClockState, { system, monotonic }: ClockReading) =>
  source === null ? 0 : system + offset - (origin + monotonic);

const confirm = (
  state: ClockState,
  source: ClockSource,
  { time, errorMs }: { readonly time: number; readonly errorMs: number },
  { system, monotonic }: ClockReading,
): ClockState => ({
  ...state,
  source,
  doubt: null,
  origin: time - monotonic,
  offset: time - system,
  errorMs,
});

const synchronise = (
  state: ClockState,
  errorMs: number,
  reading: ClockReading,
  rules: ClockRules,
): ClockState => {
  const { system } = reading;
  if (system < state.floor - rules.stepMs) return state;
  // Signed time that still stands knows better than an NTP server that says something else.
  const stands = state.source === 'signed' && doubtAt(state, reading, rules) === undefined;
  const agrees = Math.abs(system - timeAt(state, reading, rules)) <= rules.stepMs;
  if (stands && !agrees) return state;
  return confirm(state, 'ntp', { time: system, errorMs }, reading);
};

const sign = (
  state: ClockState,
  { time, errorMs }: Extract<ClockEvent, { type: 'signed' }>,
  reading: ClockReading,
  rules: ClockRules,
): ClockState => {
  const signed = { ...state, floor: Math.floor(time - errorMs) };
  const isKnown = doubtAt(state, reading, rules) === undefined;
  const off = Math.abs(time - timeAt(state, reading, rules));
  // Told again what it knows: not worth the jitter of a network.
  if (isKnown && off <= errorMs + sameMs) {
    return state.source === 'ntp' || state.source === 'signed'
      ? signed
      : { ...signed, source: 'signed', errorMs };
  }
  const isRight = Math.abs(time - reading.system) <= errorMs + sameMs;
  return confirm(signed, 'signed', { time: isRight ? reading.system : time, errorMs }, reading);
};

/** What a person says holds until the machine restarts: it raises no floor, so that a slip can be put right. */
const assert = (
  state: ClockState,
  time: number | null,
  reading: ClockReading,
  rules: ClockRules,
): ClockState => {
  const said = time ?? reading.system;
  if (whyNotAssert(state, said, reading, rules) !== undefined) return state;
  return confirm(state, 'operator', { time: said, errorMs: operatorErrorMs }, reading);
};

/** A person reads a watch. */
const operatorErrorMs = 60_000;

/** Why a person may not set the clock to that; undefined when they may. */
export const whyNotAssert = (
  state: ClockState,
  time: number,
  reading: ClockReading,
  rules: ClockRules = clockRules,
): 'below_floor' | 'known' | undefined => {
  if (time < state.floor - rules.stepMs) return 'below_floor';
  const isKnown = state.source === 'ntp' || state.source === 'signed';
  return isKnown && doubtAt(state, reading, rules) === undefined ? 'known' : undefined;
};

const seeSignature = (
  state: ClockState,
  time: number,
  reading: ClockReading,
  rules: ClockRules,
): ClockState => {
  if (time <= state.floor) return state;
  const raised = { ...state, floor: time };
  const isBehind = timeAt(state, reading, rules) < time - rules.stepMs;
  if (state.source !== null && !isBehind) return raised;
  return { ...raised, source: null, doubt: null, origin: time - reading.monotonic, offset: 0 };
};

/** A step that was undone is none. */
const settle = (state: ClockState, reading: ClockReading, rules: ClockRules): ClockState => {
  const isOff = Math.abs(stepAt(state, reading)) > rules.stepMs;
  if (isOff && state.doubt === null) return { ...state, doubt: 'jumped' };
  return !isOff && state.doubt === 'jumped' ? { ...state, doubt: null } : state;
};

const raiseFloor = (state: ClockState, reading: ClockReading, rules: ClockRules): ClockState => {
  if (state.source === 'operator' || doubtAt(state, reading, rules) !== undefined) return state;
  const time = Math.floor(timeAt(state, reading, rules));
  return time - state.floor >= rules.saveEveryMs ? { ...state, floor: time } : state;
};

const effectsOf = (
  before: ClockState,
  state: ClockState,
  event: ClockEvent,
  reading: ClockReading,
  rules: ClockRules,
): ClockEffect[] => {
  const effects: ClockEffect[] = [];
  const doubt = doubtAt(state, reading, rules);
  // A jump is first seen by its step, while the state is still the one before it.
  const wasTrusted = before.source !== null && before.doubt === null;
  const step = Math.round(stepAt(state, reading));
  if (doubt !== undefined && wasTrusted) effects.push({ do: 'doubt', reason: doubt, step });
  if (doubt === undefined && state.source !== null) {
    const { source } = state;
    const moved = Math.round(timeAt(state, reading, rules) - timeAt(before, reading, rules));
    if (!wasTrusted || before.source !== source) effects.push({ do: 'trust', source, step: moved });
    const offset = offsetAt(state, reading, rules);
    const isTold = state.told !== null && Math.abs(state.told - offset) < retellMs;
    if (!isTold) effects.push({ do: 'tell', offset, source });
  }
  if (state !== before && (event.type !== 'ticked' || isWorthSaving(before, state))) {
    effects.push({ do: 'save' });
  }
  return effects;
};

const isWorthSaving = (before: ClockState, state: ClockState): boolean =>
  before.floor !== state.floor || before.doubt !== state.doubt || before.source !== state.source;
