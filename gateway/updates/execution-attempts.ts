/** How an attempt at an execution ends before its time, and whether there is another: failures, time limits, the site's own faults. */
import type { Decision, Execution, ExecutionPolicy } from './execution-state.js';
import { change, end, rank, stay, timeoutOf } from './execution-steps.js';
import { outcomeOfSilence } from './proof-of-boot.js';

export const isOverdue = ({ deadline }: Execution, now: number): boolean =>
  deadline !== null && now >= deadline;

const notTakenUp = 'the device did not take the offer up in time';
const tookTooLong = ' took too long';

/** Whether its last attempt was given up because the device had taken its time. */
export const hasRunOut = ({ error }: Pick<Execution, 'error'>): boolean =>
  error === notTakenUp || error?.endsWith(tookTooLong) === true;

/** The present stage took too long. */
export const expire = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
  switch (state.status) {
    case 'cancelling':
      return end(state, 'cancelled', 'the device did not answer');
    case 'offered':
      return failAttempt(state, notTakenUp, policy, now);
    case 'rebooting':
    case 'confirming': {
      if (policy.isJob) return failAttempt(state, `${state.status}${tookTooLong}`, policy, now);
      const outcome = outcomeOfSilence(state);
      return outcome.status === 'failed'
        ? failAttempt(state, outcome.error ?? '', policy, now)
        : end(state, outcome.status, outcome.error);
    }
    default:
      return failAttempt(state, `${state.status}${tookTooLong}`, policy, now);
  }
};

/** The gateway was away: what ran out meanwhile gets its time again. */
export const resume = (state: Execution, policy: ExecutionPolicy, now: number): Decision => {
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

/** The site is at fault: that costs no attempt, as long as its own budget lasts. */
export const failAtSite = (
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

/** An attempt failed through the device. */
export const failAttempt = (
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
  held: false,
  progress: null,
  error,
  deadline: null,
  notBefore: now + Math.min(most, first * 2 ** Math.min(failures - 1, 30)),
});

/** It is taken back without the device's fault: at once, or as far as it has not begun to change the device. */
export const withdraw = (
  state: Execution,
  { reason, from }: { readonly reason: string; readonly from: 'offers' | 'downloads' | 'absent' },
  now: number,
): Decision => {
  const isWithin =
    state.status === 'offered' ||
    (from === 'downloads' && (state.status === 'downloading' || state.status === 'verifying'));
  // One that has begun to install, or says it has done it, goes on.
  const isBeyond = rank(state.furthest) >= rank('installing') || state.claimed;
  // A command of the older set cannot be called back: what is offered is left to go on or to run out.
  const isOut = state.status === 'offered' && state.door === 'devices' && from === 'offers';
  if (!isWithin || isBeyond || isOut) return stay(state);
  return change(
    state,
    {
      status: 'queued',
      furthest: 'queued',
      claimed: false,
      held: false,
      progress: null,
      error: reason,
      deadline: null,
      notBefore: now,
      attempt: state.attempt - 1,
    },
    ['notify'],
  );
};
