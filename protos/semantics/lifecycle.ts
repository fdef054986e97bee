/**
 * The lifecycle of a device: one table of states and transitions, and whose decision counts when cloud and site decided without knowing
 * of each other. Both ends go by it. Pure.
 *
 * People decide in three words (enable, disable, retire); the rest follows from what the device does. A decision is stamped with hybrid
 * time minted above every decision that its maker knew of, so that whoever decides after having seen another decision is later
 * than it, whatever the clocks say; the later stamp wins.
 */
import * as v from 'valibot';
import { compareTimes } from './hybrid-clock.js';

export const lifecycleStates = [
  /** Enrolled, never heard since. */
  'provisioning',
  'active',
  /** Silent for longer than the site's policy takes for granted. */
  'inactive',
  /** Refused at every door until it is enabled again. */
  'disabled',
  /** Gone for good: its certificates are revoked. Only a new code brings the id back. */
  'retired',
] as const;
export type LifecycleState = (typeof lifecycleStates)[number];
export const lifecycleState = v.picklist(lifecycleStates);

export const lifecycleActions = ['enable', 'disable', 'retire'] as const;
/** What a person may decide. */
export type LifecycleAction = (typeof lifecycleActions)[number];

/** `enrolled`: by a code, a manufacturer's certificate, or the hello of a serial line. `heard`: any sign of life. */
export type LifecycleEvent = LifecycleAction | 'enrolled' | 'heard' | 'silent';
export const lifecycleEvents: readonly LifecycleEvent[] = [
  'enrolled',
  'heard',
  'silent',
  ...lifecycleActions,
];

/** What is not here is not allowed; an event that leads back to its own state changes nothing. */
const transitions: Readonly<
  Record<LifecycleState, Partial<Readonly<Record<LifecycleEvent, LifecycleState>>>>
> = {
  provisioning: {
    enrolled: 'provisioning',
    heard: 'active',
    silent: 'provisioning',
    enable: 'provisioning',
    disable: 'disabled',
    retire: 'retired',
  },
  active: {
    enrolled: 'provisioning',
    heard: 'active',
    silent: 'inactive',
    enable: 'active',
    disable: 'disabled',
    retire: 'retired',
  },
  inactive: {
    enrolled: 'provisioning',
    heard: 'active',
    silent: 'inactive',
    enable: 'inactive',
    disable: 'disabled',
    retire: 'retired',
  },
  // A new code does not undo what somebody decided: it has to be enabled first.
  disabled: { silent: 'disabled', enable: 'active', disable: 'disabled', retire: 'retired' },
  retired: { enrolled: 'provisioning', silent: 'retired', retire: 'retired' },
};

/** The state after an event; undefined when the event is not allowed in this state. */
export const nextLifecycle = (
  state: LifecycleState,
  event: LifecycleEvent,
): LifecycleState | undefined => transitions[state][event];

/** Whether a device in this state is served at the doors. */
export const isServed = (state: LifecycleState): boolean =>
  nextLifecycle(state, 'heard') !== undefined;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
export const hybridTime = v.object({ wall: count, counter: count });

/** What a person decided, where and when. */
export const lifecycleDecision = v.object({
  action: v.picklist(lifecycleActions),
  reason: v.pipe(v.string(), v.maxLength(500)),
  /** As `cloud:admin` or `site:operator`. */
  actor: v.pipe(v.string(), v.maxLength(128)),
  decided_at: hybridTime,
});
export type LifecycleDecision = v.InferOutput<typeof lifecycleDecision>;

type Stamped = Pick<LifecycleDecision, 'decided_at' | 'actor'>;

/** Above 0 when `a` counts and `b` does not. The actor breaks a tie, the same at both ends. */
export const compareDecisions = (a: Stamped, b: Stamped): number =>
  compareTimes(a.decided_at, b.decided_at) || (a.actor < b.actor ? -1 : a.actor > b.actor ? 1 : 0);
