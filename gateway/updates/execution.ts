/**
 * What one execution does next (DESIGN.md, "Execution of an update"): a pure function of what is committed, what happened, the
 * campaign's policy and the time. An event that says nothing to the present status gives the very same state.
 */
import { type ExecutionStatus, isTerminal } from '@holdfast/protos/link/execution-status';
import type {
  Decision,
  Execution,
  ExecutionEvent,
  ExecutionPolicy,
  ReportedStatus,
} from './execution-state.js';
import { change, end, rank, refuse, stageOf, stay, timeoutOf } from './execution-steps.js';
import {
  isProven,
  isUp,
  learnFromReport,
  learnFromSight,
  outcomeOfSilence,
  withDetails,
} from './proof-of-boot.js';

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
      return state.status === 'queued' || state.status === 'offered'
        ? end(state, 'superseded', 'a newer campaign is for this device')
        : stay(state);
  }
};

/** Whether an execution takes one of the places that a campaign has at a site. */
export const isUnderWay = (status: ExecutionStatus): boolean =>
  !isTerminal(status) && status !== 'queued';

const isOverdue = ({ deadline }: Execution, now: number): boolean =>
  deadline !== null && now >= deadline;

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
      furthest: 'offered',
      progress: null,
      error: null,
      deadline: now + policy.offerTimeoutMs,
    },
    ['notify'],
  );
};

const report = (
  before: Execution,
  event: Event<'reported'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (before.door === null) return refuse(before, 'it was not offered yet');
  const state = learnFromReport(before, event);
  switch (event.status) {
    case 'succeeded':
      return policy.isJob ? finish(before, state) : claim(before, state, event, policy, now);
    case 'rolled_back':
      return end(state, 'rolled_back', event.error ?? null);
    case 'failed':
    case 'cancelled':
      return giveUp(withDetails(before, event), event, policy, now);
    default:
      return advance(before, state, event, event.status, policy, now);
  }
};

/** A plain job has nothing to prove. */
const finish = (before: Execution, state: Execution): Decision =>
  before.status === 'queued'
    ? refuse(before, 'its time for this attempt has run out')
    : end(state, 'succeeded', null);

/** The device says it cannot or will not. */
const giveUp = (
  state: Execution,
  { status, error }: Event<'reported'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (state.status === 'cancelling') return end(state, 'cancelled', error ?? null);
  // The attempt that it speaks of was given up here before.
  if (state.status === 'queued') return stay(state);
  return failAttempt(state, error ?? `the device says ${status}`, policy, now);
};

const advance = (
  before: Execution,
  state: Execution,
  event: Event<'reported'>,
  status: Exclude<ReportedStatus, 'succeeded' | 'failed' | 'rolled_back' | 'cancelled'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (before.status === 'queued') return refuse(before, 'its time for this attempt has run out');
  if (before.status === 'cancelling') {
    if (rank(status) >= rank('rebooting')) return stay(before);
    const refused = 'it is being cancelled';
    // The refusal itself stops the device; only the older set has no answers.
    return event.door === 'devices'
      ? refuse(before, refused)
      : { ...end(before, 'cancelled', null), refused };
  }
  if (event.held !== undefined && !isChanging(before)) {
    return hold(before, state, event, event.held, policy, now);
  }
  // That the offer arrived changes nothing, and a claim is not taken back by a report that overtook it.
  if (status === 'offered' || before.claimed) return stay(before);
  const isFurther = stageOf(status) > stageOf(before.furthest);
  // It is up, and says by itself that it has yet to decide whether to stay so.
  const isOnTrial = status === 'confirming' && before.furthest !== 'confirming' && isUp(state);
  const changes: Partial<Execution> = {
    ...state,
    door: event.door,
    status,
    furthest: rank(status) > rank(before.furthest) ? status : before.furthest,
    progress: coarse(before, status, event.progress),
    error: event.error ?? null,
    deadline: deadlineOf(before, event, isFurther || isOnTrial, policy, now),
  };
  return isSameAs(before, changes) ? stay(before) : change(before, changes);
};

const deadlineOf = (
  before: Execution,
  { status, stepTimeoutMs }: Event<'reported'>,
  isNewStage: boolean,
  policy: ExecutionPolicy,
  now: number,
): number | null => {
  if (stepTimeoutMs !== undefined && stepTimeoutMs > 0) return now + stepTimeoutMs;
  if (!isNewStage && stepTimeoutMs === undefined) return before.deadline;
  // Reports of other kinds end a stage, so they come here never.
  return now + timeoutOf(status as ExecutionStatus, policy);
};

/** What begins to change the device, so that it has to wait for its time. */
export const isChange = (status: ReportedStatus): boolean =>
  status === 'installing' || status === 'rebooting';

/** Whether it has begun to change the device: then it goes on, whatever the time. */
export const isChanging = ({ furthest }: Execution): boolean =>
  rank(furthest) >= rank('installing');

/** It has what it needs, and waits; its time for that begins when it may go on. */
const hold = (
  before: Execution,
  state: Execution,
  { door }: Event<'reported'>,
  { until, reason }: NonNullable<Event<'reported'>['held']>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  const changes: Partial<Execution> = {
    ...state,
    door,
    status: 'verifying',
    furthest: 'verifying',
    progress: null,
    error: reason,
    deadline: (until ?? now + longestUnknownMs) + policy.downloadTimeoutMs,
  };
  // It asks every minute: a deadline that is off by less is the same.
  const isSame =
    isSameAs(before, { ...changes, deadline: before.deadline }) &&
    before.deadline !== null &&
    (until === null
      ? before.deadline > now
      : Math.abs((changes.deadline ?? 0) - before.deadline) < 60_000);
  return isSame ? refuse(before, reason) : { ...change(before, changes), refused: reason };
};

/** Until when a device is waited for whose window opens nobody knows when. */
const longestUnknownMs = 86_400_000;

/** Steps below five percent are not worth a commit each. */
const coarse = (
  { status, progress }: Execution,
  reported: ExecutionStatus,
  percent: number | undefined,
): number | null => {
  if (percent === undefined) return status === reported ? progress : null;
  const isSmall = progress !== null && Math.abs(percent - progress) < 5 && percent < 100;
  return status === reported && isSmall ? progress : percent;
};

const isSameAs = (state: Execution, changes: Partial<Execution>): boolean =>
  // Both are Executions, so the keys of one are keys of the other.
  (Object.keys(changes) as (keyof Execution)[]).every((key) => state[key] === changes[key]);

const claim = (
  before: Execution,
  state: Execution,
  event: Event<'reported'>,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  const claimed: Execution = { ...state, door: event.door, claimed: true };
  switch (isProven(claimed, event)) {
    case 'proven':
      return end(claimed, 'succeeded', null);
    case 'disproven':
      return before.status === 'queued'
        ? stay(before)
        : failAttempt(claimed, `it restarted, but runs ${event.version}`, policy, now);
    case 'impossible':
      return end(claimed, 'unproven', 'the device gives no proof that it restarted');
    case 'open':
      break;
  }
  if (before.status === 'queued') return refuse(before, 'it has not proved that it restarted');
  if (before.claimed) return stay(before);
  if (before.status === 'cancelling') return change(before, claimed);
  const isFurther = stageOf('confirming') > stageOf(before.furthest);
  return change(claimed, {
    status: 'confirming',
    furthest: 'confirming',
    progress: null,
    error: null,
    deadline: isFurther ? now + policy.confirmTimeoutMs : before.deadline,
  });
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

const expire = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
  switch (state.status) {
    case 'cancelling':
      return end(state, 'cancelled', 'the device did not answer');
    case 'offered':
      return failAttempt(state, 'the device did not take the offer up in time', policy, now);
    case 'rebooting':
    case 'confirming': {
      if (policy.isJob) return failAttempt(state, `${state.status} took too long`, policy, now);
      const outcome = outcomeOfSilence(state);
      return outcome.status === 'failed'
        ? failAttempt(state, outcome.error ?? '', policy, now)
        : end(state, outcome.status, outcome.error);
    }
    default:
      return failAttempt(state, `${state.status} took too long`, policy, now);
  }
};

const resume = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
  // Nor does it wait longer than it would have to.
  const lastWait = now + policy.retryAfterMs.most;
  if (state.notBefore > lastWait) return change(state, { notBefore: lastWait });
  if (state.deadline === null) return stay(state);
  const latest = now + timeoutOf(state.status, policy);
  // The clock was set back while the gateway was away: a stage never has more than its time.
  if (state.deadline > latest) return change(state, { deadline: latest });
  if (!isOverdue(state, now)) return stay(state);
  return state.siteFailures < policy.siteRetries
    ? change(state, { siteFailures: state.siteFailures + 1, deadline: latest })
    : expire(state, policy, now);
};

const failAtSite = (
  state: Execution,
  error: string,
  policy: ExecutionPolicy,
  now: number,
): Decision => {
  if (state.status !== 'offered' && state.status !== 'downloading') return stay(state);
  if (state.siteFailures >= policy.siteRetries) return end(state, 'failed', error);
  const siteFailures = state.siteFailures + 1;
  const requeued = { ...requeue(siteFailures, error, policy, now), siteFailures };
  return change(state, { ...requeued, attempt: state.attempt - 1 }, ['notify']);
};

const failAttempt = (
  state: Execution,
  error: string,
  policy: ExecutionPolicy,
  now: number,
): Decision =>
  state.attempt <= policy.retries
    ? change(state, requeue(state.attempt, error, policy, now), ['notify'])
    : end(state, 'failed', error);

const requeue = (
  failures: number,
  error: string,
  { retryAfterMs: { first, most } }: ExecutionPolicy,
  now: number,
): Partial<Execution> => ({
  status: 'queued',
  furthest: 'queued',
  claimed: false,
  progress: null,
  error,
  deadline: null,
  notBefore: now + Math.min(most, first * 2 ** Math.min(failures - 1, 30)),
});

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
  change(state, { status: 'cancelling', deadline: now + policy.cancelTimeoutMs }, ['notify']);
