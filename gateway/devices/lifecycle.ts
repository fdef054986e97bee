/** Where one device's life stands, and what an event makes of it; the table itself is protos/semantics/lifecycle. Pure. */
import {
  type ClockReading,
  compareTimes,
  type HybridTime,
  laterOf,
  mintTime,
  zeroTime,
} from '@holdfast/protos/semantics/hybrid-clock';
import {
  compareDecisions,
  type LifecycleDecision,
  type LifecycleEvent,
  type LifecycleState,
  nextLifecycle,
} from '@holdfast/protos/semantics/lifecycle';

export interface DeviceLifecycle {
  readonly state: LifecycleState;
  /** Since when, epoch ms by the site's clock. */
  readonly since: number;
  readonly reason: string;
  /** As `site:operator`, `cloud:admin` or `site`, which is the gateway by itself. */
  readonly actor: string;
  /** Of the last decision of a person that is known here; zero before the first. */
  readonly decidedAt: HybridTime;
  readonly decidedBy: string;
}

/** What follows by itself, without a person. */
export const bySite = 'site';

/**
 * A device that has just been enrolled, over whatever the id was before. Its stamp is above every decision it overrules, that of the plan
 * among them: the plan may still say of one that was forgotten that it is to go.
 */
export const enrolledLifecycle = (
  before: DeviceLifecycle | undefined,
  planned: HybridTime | undefined,
  clock: ClockReading,
): DeviceLifecycle => {
  const decidedAt = laterOf(before?.decidedAt ?? zeroTime, planned ?? zeroTime);
  const isDecided = compareTimes(decidedAt, zeroTime) > 0;
  return {
    state: 'provisioning',
    since: clock.now,
    reason: before === undefined ? 'enrolled' : 'enrolled anew',
    actor: bySite,
    decidedAt: isDecided ? mintAbove(decidedAt, clock) : zeroTime,
    decidedBy: isDecided ? bySite : '',
  };
};

/** What the device did, or did not: undefined when nothing changes. */
export const observed = (
  before: DeviceLifecycle,
  event: Extract<LifecycleEvent, 'heard' | 'silent'>,
  now: number,
): DeviceLifecycle | undefined => {
  const state = nextLifecycle(before.state, event);
  if (state === undefined || state === before.state) return undefined;
  const reason = event === 'heard' ? 'heard' : 'silent for too long';
  return { ...before, state, since: now, reason, actor: bySite };
};

/** What somebody decides here: later than whatever was decided before. Undefined when it is not allowed in this state. */
export const decidedHere = (
  before: DeviceLifecycle,
  decision: Omit<LifecycleDecision, 'decided_at'>,
  clock: ClockReading,
): DeviceLifecycle | undefined =>
  decided(before, { ...decision, decided_at: mintAbove(before.decidedAt, clock) }, clock.now);

/**
 * What was decided elsewhere: undefined when a decision known here is later, or the same. One that is not allowed in this state is
 * taken note of, so that it is not weighed again; the state stays.
 */
export const decidedElsewhere = (
  before: DeviceLifecycle,
  decision: LifecycleDecision,
  now: number,
): DeviceLifecycle | undefined => {
  const known = { decided_at: before.decidedAt, actor: before.decidedBy };
  if (compareDecisions(decision, known) <= 0) return undefined;
  const { decided_at: decidedAt, actor: decidedBy, action } = decision;
  return (
    decided(before, decision, now) ?? {
      ...before,
      decidedAt,
      decidedBy,
      reason: `${before.reason} (${action} came too late)`,
    }
  );
};

const decided = (
  before: DeviceLifecycle,
  { action, reason, actor, decided_at: decidedAt }: LifecycleDecision,
  now: number,
): DeviceLifecycle | undefined => {
  const state = nextLifecycle(before.state, action);
  if (state === undefined) return undefined;
  const isSame = state === before.state;
  const since = isSame ? before.since : now;
  // Said again without a reason, it is so for the reason before.
  const why = isSame && reason === '' ? before.reason : reason;
  return { state, since, reason: why, actor, decidedAt, decidedBy: actor };
};

const mintAbove = (before: HybridTime, clock: ClockReading): HybridTime =>
  mintTime({ seen: before, overwritten: before }, clock);
