/**
 * What an update does next: a pure function over what is committed and what just happened.
 *
 * The state is committed before its effects are performed, and `started` gives the effects of the committed state again after any
 * break, so every effect must be safe to repeat. The slot pointer (`active`) is part of the state: pointer and phase move in one write.
 */
import { report, running, settle, statusOf, stay } from './update-decision.js';
import {
  type Decision,
  type InstalledApp,
  type Installing,
  type OnTrial,
  type Outcome,
  otherSlot,
  type Slot,
  type Update,
  type UpdateEffect,
  type UpdateEvent,
  type UpdateJob,
  type UpdateState,
} from './update-state.js';
import { back, failInstall, rollBack, startTrial, wentBack } from './update-way-back.js';

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
    case 'stepBegun':
    case 'stepDone':
    case 'installed':
    case 'failed':
      return worked(state, event);
    case 'undone':
    case 'restarted':
      return wentBack(state, event);
    case 'found':
      return found(state, event.slot, event.app);
    case 'launched':
    case 'healthy':
    case 'exited':
    case 'overdue':
      return ran(state, event);
  }
};

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
        // Once it was begun, the installer alone knows what runs now.
        ...(update.steps.length === 0 ? running(state) : []),
        ...statusOf(state),
        install(update),
      ]);
    case 'rebooting':
    case 'confirming':
      return startTrial(state, update, 'the device stopped during the trial');
    case 'undoing':
      return stay(state, [...statusOf(state), back(update)]);
  }
};

const install = (under: Installing): UpdateEffect => ({
  type: 'install',
  job: under.job,
  slot: under.target,
  under,
});

/** From there on there is only forward or back: not what the gateway would rather have by now. */
const isPastRecall = (update: Update): boolean =>
  update.phase === 'rebooting' ||
  update.phase === 'confirming' ||
  update.phase === 'undoing' ||
  (update.phase === 'installing' && update.steps.length > 0);

const offered = (state: UpdateState, job: UpdateJob, deviceModel: string): Decision => {
  const { update } = state;
  if (update.phase === 'idle') {
    const isDone = update.last?.jobId === job.id && update.last.outcome === 'succeeded';
    return isDone ? settle(state, job, 'succeeded', null) : begin(state, job, deviceModel);
  }
  if (update.job.id === job.id) return stay(state, statusOf(state));
  // The gateway is asked again once it is settled.
  if (isPastRecall(update)) return stay(state);
  const begun = begin(state, job, deviceModel);
  return {
    state: begun.state,
    effects: [{ type: 'discard', job: update.job }, ...begun.effects],
  };
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
  if (update.phase === 'idle' || isPastRecall(update)) return stay(state);
  if (update.phase === 'settled') return finish(state, update.job, update.outcome, []);
  return {
    state: { ...state, update: { phase: 'idle', last: null } },
    effects: [{ type: 'discard', job: update.job }],
  };
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

type WorkEvent = Extract<
  UpdateEvent,
  {
    type:
      | 'downloaded'
      | 'verified'
      | 'permitted'
      | 'stepBegun'
      | 'stepDone'
      | 'installed'
      | 'failed';
  }
>;

const worked = (state: UpdateState, event: WorkEvent): Decision => {
  const { update } = state;
  if (update.phase === 'idle' || update.job.id !== event.jobId) return stay(state);
  const { job } = update;
  if (event.type === 'failed') {
    if (update.phase === 'installing') return failInstall(state, update, event.error);
    return update.phase === 'downloading' || update.phase === 'verifying'
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
      state: { ...state, update: { phase: 'waiting', job, release: event.release } },
      effects: [{ type: 'request', job }],
    };
  }
  if (event.type === 'permitted' && update.phase === 'waiting') {
    const { release } = update;
    const under: Installing = {
      job,
      release,
      target: otherSlot(state.active),
      steps: [],
      since: null,
    };
    return {
      // The slot's record is cleared in the commit that permits writing into it.
      state: {
        ...state,
        slots: { ...state.slots, [under.target]: null },
        update: { phase: 'installing', ...under },
      },
      // That it is installed now was said with the request.
      effects: [install(under)],
    };
  }
  return update.phase === 'installing' ? installing(state, update, event) : stay(state);
};

const installing = (
  state: UpdateState,
  update: Extract<Update, { phase: 'installing' }>,
  event: WorkEvent,
): Decision => {
  const { job, release, target, steps } = update;
  switch (event.type) {
    case 'stepBegun':
      if (steps.some(({ name }) => name === event.step)) return stay(state);
      return stay({
        ...state,
        update: {
          ...update,
          since: update.since ?? event.bootId,
          steps: [...steps, { name: event.step, isDone: false }],
        },
      });
    case 'stepDone':
      if (!steps.some(({ name }) => name === event.step)) return stay(state);
      return stay({
        ...state,
        update: {
          ...update,
          steps: steps.map((step) => (step.name === event.step ? { ...step, isDone: true } : step)),
        },
      });
    case 'installed': {
      const { trial } = event;
      const app: InstalledApp = { version: job.version, sha256: job.sha256, jobId: job.id };
      const onTrial: OnTrial = { job, release, target, previous: state.active, trial, starts: 1 };
      return {
        state: {
          ...state,
          active: target,
          slots: { ...state.slots, [target]: app },
          update: { phase: 'rebooting', ...onTrial },
        },
        effects: [report(job, 'rebooting'), { type: 'run', slot: target, trial }],
      };
    }
    default:
      return stay(state);
  }
};

/** What the machine was brought to by other hands, or by its boot loader, is believed; an update under way keeps its own counsel. */
const found = (state: UpdateState, slot: Slot, app: InstalledApp): Decision => {
  const { active, slots, update } = state;
  const isUntouched = ['idle', 'downloading', 'verifying', 'waiting'].includes(update.phase);
  if (!isUntouched) return stay(state);
  const known = slots[slot];
  if (active === slot && known !== null && known.version === app.version) return stay(state);
  return stay({
    ...state,
    active: slot,
    slots: { ...slots, [slot]: known?.version === app.version ? known : app },
  });
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
      const { securityCounter } = update.release;
      const raised = {
        ...state,
        securityCounter: Math.max(state.securityCounter, securityCounter),
      };
      const settled = settle(raised, update.job, 'succeeded', null);
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
