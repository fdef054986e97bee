/**
 * What one execution does next (DESIGN.md, "Execution of an update"): a pure function of what is committed, what happened, the
 * campaign's policy and the time. An event that says nothing to the present status gives the very same state.
 */
import { type ExecutionStatus, isTerminal } from '@holdfast/protos/link/execution-status';
import { expire, failAtSite, isOverdue, resume, withdraw } from './execution-attempts.js';
import { report } from './execution-reports.js';
import type { Decision, Execution, ExecutionEvent, ExecutionPolicy } from './execution-state.js';
import { change, end, rank, refuse, stay } from './execution-steps.js';
import { isUp, learnFromSight } from './proof-of-boot.js';

type ExecutionDoor = NonNullable<Execution['door']>;
type Event<T extends ExecutionEvent['type']> = Extract<ExecutionEvent, { type: T }>;

export const next = (
  state: Execution,
  event: ExecutionEvent,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (isTerminal(state.status)) return afterTheEnd(state, event);
  switch (event.type) {
    case 'offer':
      return offer(state, event, policy, now);
    case 'reported':
      return report(state, event, policy, now);
    case 'seen':
      return see(state, event, policy, now);
    case 'heard':
      return hear(state, event.door);
    case 'ticked':
      return isOverdue(state, now) ? expire(state, policy, now) : stay(state);
    case 'resumed':
      return resume(state, policy, now);
    case 'site_failed':
      return failAtSite(state, event.error, policy, now);
    case 'cancel':
      return cancel(state, policy, now);
    case 'supersede':
      return supersede(state, policy, now);
    case 'withdraw':
      return withdraw(state, event, now);
    case 'refuse':
      return state.status === 'queued' || state.status === 'offered'
        ? end(state, 'failed', event.error)
        : stay(state);
  }
};

/** Whether an execution takes one of the places that a campaign has at a site. */
export const isUnderWay = (status: ExecutionStatus): boolean =>
  !isTerminal(status) && status !== 'queued';

const afterTheEnd = (state: Execution, event: ExecutionEvent): Decision => {
  if (event.type !== 'reported') return stay(state);
  // Its own outcome again: the answer to the first one was lost.
  const isSame =
    event.status === state.status ||
    (event.status === 'succeeded' && state.status === 'unproven') ||
    (event.status === 'cancelled' && state.status === 'superseded');
  return isSame ? stay(state) : refuse(state, `this execution is over: ${state.status}`);
};

const offer = (
  state: Execution,
  { door, boot, version }: Event<'offer'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (state.status !== 'queued' || now < state.notBefore) return stay(state);
  const runsIt = !policy.isJob && version === state.toVersion;
  if (runsIt && state.door === null) {
    return end(state, 'superseded', `it runs ${state.toVersion} already`);
  }
  // It came up with the new version after its time had run out: it still has to prove it against the run before.
  const isLate = runsIt && state.bootBefore !== null && boot !== state.bootBefore;
  if (isLate && door !== 'native') return end(state, 'succeeded', null);
  return change(
    state,
    {
      status: 'offered',
      door,
      attempt: state.attempt + 1,
      offers: state.offers + 1,
      ...(isLate
        ? {}
        : { bootBefore: boot, seen: null, fromVersion: version ?? state.fromVersion }),
      claimed: false,
      held: false,
      furthest: 'offered',
      progress: null,
      error: null,
      deadline: now + policy.offerTimeoutMs,
    },
    ['notify'],
  );
};

const see = (
  before: Execution,
  event: Event<'seen'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (before.door === null) return stay(before);
  if (before.door !== event.door) {
    // Nobody took up what was offered on the job topics, and the device turns out to speak the older set.
    return before.status === 'offered' && before.door === 'native'
      ? change(before, { door: event.door, bootBefore: event.boot }, ['notify'])
      : stay(before);
  }
  if (policy.isJob) return stay(before);
  const state = learnFromSight(before, event);
  if (state === before) return stay(before);
  if (!isUp(state) || isUp(before)) return change(before, state);
  const tellsStages = rank(before.status) > rank('offered');
  if (!tellsStages || before.claimed) return end(state, 'succeeded', null);
  return change(state, { status: 'confirming', progress: null, deadline: now + policy.settleMs });
};

/** What was offered through another door and not taken up is told through this one; what it proves there begins anew. */
const hear = (state: Execution, door: ExecutionDoor): Decision =>
  state.status === 'offered' && state.door !== door
    ? change(state, { door, bootBefore: null, seen: null }, ['notify'])
    : stay(state);

const supersede = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
  if (state.status !== 'queued' && state.status !== 'offered') return stay(state);
  // A command of the older set is with the device: the other image waits until this one can be begun no more.
  return state.status === 'offered' && state.door === 'devices'
    ? beginCancel(state, policy, now)
    : end(state, 'superseded', 'a newer campaign is for this device');
};

const cancel = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
  switch (state.status) {
    case 'queued':
      return end(state, 'cancelled', null);
    case 'offered':
      // An offer that was not taken up is withdrawn; only a command of the older set cannot be called back.
      return state.door === 'devices'
        ? beginCancel(state, policy, now)
        : end(state, 'cancelled', null);
    case 'downloading':
    case 'verifying':
    case 'installing':
    case 'in_progress':
      return beginCancel(state, policy, now);
    default:
      // Past the restart there is no way back that the device would not take by itself.
      return stay(state);
  }
};

const beginCancel = (state: Execution, policy: ExecutionPolicy, now: number): Decision =>
  change(state, { status: 'cancelling', held: false, deadline: now + policy.cancelTimeoutMs }, [
    'notify',
  ]);
