/** What a relay has to be, as a pure function of what is wanted and of what stands against it. Monotonic ms. */
import type { RelayLine } from './line-settings.js';

export interface RelayState {
  /** What the shadow says; null while it says nothing. */
  readonly wanted: boolean | null;
  /** Why it has to be safe whatever the shadow says. */
  readonly hold: string | null;
  /** Since when whoever decides cannot be heard; null while they can. */
  readonly silentSince: number | null;
  /** What it is; null before it was ever set. */
  readonly isOn: boolean | null;
  /** When it last went from one to the other. */
  readonly changedAt: number;
}

export interface RelayDecision {
  readonly isOn: boolean;
  /** Why it is safe and not as it is wanted. */
  readonly held: string | null;
  /** When the same has to be asked again; null: when something changes. */
  readonly againInMs: number | null;
}

export type RelayRules = Pick<RelayLine, 'safe' | 'safeAfterMs' | 'minOnMs' | 'minOffMs'>;

export const noContact = 'no contact';

export const decideRelay = (rules: RelayRules, state: RelayState, now: number): RelayDecision => {
  const { safe, safeAfterMs, minOnMs, minOffMs } = rules;
  const { wanted, isOn, changedAt, silentSince } = state;
  const silentLeftMs =
    silentSince === null || safeAfterMs === 0 ? null : silentSince + safeAfterMs - now;
  const isSilent = silentLeftMs !== null && silentLeftMs <= 0;
  const held = state.hold ?? (isSilent ? noContact : null);
  // Safety waits for nothing.
  if (held !== null) return { isOn: safe, held, againInMs: null };
  const goal = wanted ?? safe;
  if (isOn === null || goal === isOn) return { isOn: goal, held, againInMs: silentLeftMs };
  const restMs = changedAt + (isOn ? minOnMs : minOffMs) - now;
  if (restMs <= 0) return { isOn: goal, held, againInMs: silentLeftMs };
  return { isOn, held, againInMs: Math.min(restMs, silentLeftMs ?? restMs) };
};
