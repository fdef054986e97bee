/** What a device reports of an execution, and what becomes of that: stages, claims of success, failures. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import { failAttempt } from './execution-attempts.js';
import type {
  Decision,
  Execution,
  ExecutionEvent,
  ExecutionPolicy,
  ReportedStatus,
} from './execution-state.js';
import { change, end, rank, refuse, stageOf, stay, timeoutOf } from './execution-steps.js';
import { isProven, isUp, learnFromReport, withDetails } from './proof-of-boot.js';

type Event<T extends ExecutionEvent['type']> = Extract<ExecutionEvent, { type: T }>;

/** A device says something of an execution that is not over. */
export const report = (
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
    held: before.held && rank(status) < rank('installing'),
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
  status === 'installing' || status === 'in_progress' || status === 'rebooting';

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
    held: true,
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
