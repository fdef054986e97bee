/**
 * What an update does next: a pure function over what is committed and what just happened.
 *
 * The state is committed before its effects are performed, and `started` gives the effects of the committed state again after any
 * break, so every effect must be safe to repeat. The slot pointer (`active`) is part of the state: pointer and phase move in one write.
 */
import {
  type Decision,
  type InstalledApp,
  type JobStatus,
  type OnTrial,
  type Outcome,
  otherSlot,
  type Update,
  type UpdateEffect,
  type UpdateEvent,
  type UpdateJob,
  type UpdateState,
} from './update-state.js';

/** Decides; an event that says nothing to the present phase gives the very same state and no effects. */
export const next = (state: UpdateState, event: UpdateEvent): Decision => {
  switch (event.type) {
    case 'started':
      return resume(state);
    case 'connected':
      return stay(state, statusOf(state));
    case 'offered':
      return offered(state, event.job, event.deviceModel);
    case 'withdrawn':
      return withdrawn(state);
    case 'answered':
      return answered(state, event.jobId);
    case 'refused':
      return refused(state, event.jobId);
    case 'downloaded':
    case 'verified':
    case 'permitted':
    case 'installed':
    case 'failed':
      return worked(state, event);
    case 'launched':
    case 'healthy':
    case 'exited':
    case 'overdue':
      return ran(state, event);
  }
};

const stay = (state: UpdateState, effects: readonly UpdateEffect[] = []): Decision => ({
  state,
  effects,
});

const report = (job: UpdateJob, status: JobStatus, error: string | null = null): UpdateEffect => ({
  type: 'report',
  job,
  status,
  error,
});

/** What the gateway should know of the present phase. */
const statusOf = ({ update }: UpdateState): readonly UpdateEffect[] => {
  switch (update.phase) {
    case 'idle':
      return [{ type: 'ask' }];
    case 'settled':
      return [report(update.job, update.outcome, update.error)];
    case 'waiting':
      return [{ type: 'request', job: update.job }];
    default:
      return [report(update.job, update.phase)];
  }
};

const running = ({ active }: UpdateState): readonly UpdateEffect[] =>
  active === null ? [] : [{ type: 'run', slot: active, trial: null }];

const resume = (state: UpdateState): Decision => {
  const { update } = state;
  switch (update.phase) {
    case 'idle':
      return stay(state, running(state));
    case 'settled':
      return stay(state, [
        ...running(state),
        { type: 'discard', job: update.job },
        ...statusOf(state),
      ]);
    case 'downloading':
      return stay(state, [
        ...running(state),
        ...statusOf(state),
        { type: 'download', job: update.job },
      ]);
    case 'verifying':
      return stay(state, [
        ...running(state),
        ...statusOf(state),
        { type: 'verify', job: update.job },
      ]);
    case 'waiting':
      return stay(state, [...running(state), ...statusOf(state)]);
    case 'installing':
      return stay(state, [
        ...running(state),
        ...statusOf(state),
        { type: 'install', job: update.job, slot: update.target },
      ]);
    case 'rebooting':
    case 'confirming':
      return startTrial(state, update, 'the device stopped during the trial');
  }
};

const offered = (state: UpdateState, job: UpdateJob, deviceModel: string): Decision => {
  const { update } = state;
  if (update.phase === 'idle') {
    const isDone = update.last?.jobId === job.id && update.last.outcome === 'succeeded';
    return isDone ? settle(state, job, 'succeeded', null) : begin(state, job, deviceModel);
  }
  if (update.job.id === job.id) return stay(state, statusOf(state));
  switch (update.phase) {
    case 'rebooting':
    case 'confirming':
      // Past the pointer's move there is only forward or back; the gateway is asked again once it is settled.
      return stay(state);
    default: {
      const begun = begin(state, job, deviceModel);
      return {
        state: begun.state,
        effects: [{ type: 'discard', job: update.job }, ...begun.effects],
      };
    }
  }
};

const begin = (state: UpdateState, job: UpdateJob, deviceModel: string): Decision => {
  if (job.model !== deviceModel) {
    return settle(state, job, 'failed', `it is for ${job.model}, this device is ${deviceModel}`);
  }
  return {
    state: { ...state, update: { phase: 'downloading', job } },
    effects: [report(job, 'downloading'), { type: 'download', job }],
  };
};

const withdrawn = (state: UpdateState): Decision => {
  const { update } = state;
  switch (update.phase) {
    case 'idle':
    case 'rebooting':
    case 'confirming':
      return stay(state);
    case 'settled':
      return finish(state, update.job, update.outcome, []);
    default:
      return {
        state: { ...state, update: { phase: 'idle', last: null } },
        effects: [{ type: 'discard', job: update.job }],
      };
  }
};

const answered = (state: UpdateState, jobId: string): Decision => {
  const { update } = state;
  return update.phase === 'settled' && update.job.id === jobId
    ? finish(state, update.job, update.outcome, [{ type: 'ask' }])
    : stay(state);
};

const refused = (state: UpdateState, jobId: string): Decision => {
  const { update } = state;
  if (update.phase === 'idle' || update.job.id !== jobId) return stay(state);
  return update.phase === 'settled' ? answered(state, jobId) : withdrawn(state);
};

const finish = (
  state: UpdateState,
  job: UpdateJob,
  outcome: Outcome,
  effects: readonly UpdateEffect[],
): Decision => ({
  state: { ...state, update: { phase: 'idle', last: { jobId: job.id, outcome } } },
  effects,
});

/** Texts may quote what an archive holds; what is longer explains nothing, and neither record nor report takes it. */
const longestError = 1_000;

const settle = (
  state: UpdateState,
  job: UpdateJob,
  outcome: Outcome,
  reason: string | null,
): Decision => {
  const error = reason === null ? null : reason.slice(0, longestError);
  return {
    state: { ...state, update: { phase: 'settled', job, outcome, error } },
    effects: [{ type: 'discard', job }, report(job, outcome, error)],
  };
};

type WorkEvent = Extract<
  UpdateEvent,
  { type: 'downloaded' | 'verified' | 'permitted' | 'installed' | 'failed' }
>;

const worked = (state: UpdateState, event: WorkEvent): Decision => {
  const { update } = state;
  if (update.phase === 'idle' || update.job.id !== event.jobId) return stay(state);
  const { job } = update;
  if (event.type === 'failed') {
    return update.phase === 'downloading' ||
      update.phase === 'verifying' ||
      update.phase === 'installing'
      ? settle(state, job, 'failed', event.error)
      : stay(state);
  }
  if (event.type === 'downloaded' && update.phase === 'downloading') {
    return {
      state: { ...state, update: { phase: 'verifying', job } },
      effects: [report(job, 'verifying'), { type: 'verify', job }],
    };
  }
  if (event.type === 'verified' && update.phase === 'verifying') {
    return {
      state: { ...state, update: { phase: 'waiting', job } },
      effects: [{ type: 'request', job }],
    };
  }
  if (event.type === 'permitted' && update.phase === 'waiting') {
    const target = otherSlot(state.active);
    return {
      // The slot's record is cleared in the commit that permits writing into it.
      state: {
        ...state,
        slots: { ...state.slots, [target]: null },
        update: { phase: 'installing', job, target },
      },
      // That it is installed now was said with the request.
      effects: [{ type: 'install', job, slot: target }],
    };
  }
  if (event.type === 'installed' && update.phase === 'installing') {
    const { target } = update;
    const app: InstalledApp = { version: job.version, sha256: job.sha256, jobId: job.id };
    const onTrial: OnTrial = {
      job,
      target,
      previous: state.active,
      trial: event.trial,
      starts: 1,
    };
    return {
      state: {
        active: target,
        slots: { ...state.slots, [target]: app },
        update: { phase: 'rebooting', ...onTrial },
      },
      effects: [report(job, 'rebooting'), { type: 'run', slot: target, trial: event.trial }],
    };
  }
  return stay(state);
};

type RunEvent = Extract<UpdateEvent, { type: 'launched' | 'healthy' | 'exited' | 'overdue' }>;

const ran = (state: UpdateState, event: RunEvent): Decision => {
  const { update } = state;
  if (update.phase !== 'rebooting' && update.phase !== 'confirming') return stay(state);
  if (event.slot !== update.target) return stay(state);
  switch (event.type) {
    case 'launched':
      return {
        state: { ...state, update: { ...update, phase: 'confirming' } },
        effects: [report(update.job, 'confirming')],
      };
    case 'healthy': {
      const settled = settle(state, update.job, 'succeeded', null);
      return {
        state: settled.state,
        effects: [{ type: 'run', slot: update.target, trial: null }, ...settled.effects],
      };
    }
    case 'exited':
      return startTrial(state, update, event.error);
    case 'overdue':
      return rollBack(
        state,
        update,
        `it was not healthy within ${String(update.trial.deadlineMs)} ms`,
      );
  }
};

/** One more start, counted before it happens, or the way back. */
const startTrial = (
  state: UpdateState,
  update: Extract<Update, { phase: 'rebooting' | 'confirming' }>,
  reason: string,
): Decision => {
  if (update.starts >= update.trial.maxStarts) {
    return rollBack(state, update, `${reason} (${String(update.starts)} starts)`);
  }
  return {
    state: { ...state, update: { ...update, phase: 'rebooting', starts: update.starts + 1 } },
    effects: [
      report(update.job, 'rebooting'),
      { type: 'run', slot: update.target, trial: update.trial },
    ],
  };
};

const rollBack = (state: UpdateState, update: OnTrial, error: string): Decision => {
  const back: UpdateState = {
    ...state,
    active: update.previous,
    slots: { ...state.slots, [update.target]: null },
  };
  const settled = settle(back, update.job, 'rolled_back', error);
  const runs = running(back);
  return {
    state: settled.state,
    effects: [...(runs.length === 0 ? [{ type: 'stop' } as const] : runs), ...settled.effects],
  };
};
