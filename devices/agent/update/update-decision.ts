/** What the decisions on an update (update-machine.ts, update-way-back.ts) are made of: to stay, to tell, to settle. */
import type {
  Decision,
  JobStatus,
  Outcome,
  UpdateEffect,
  UpdateJob,
  UpdateState,
} from './update-state.js';

export const stay = (state: UpdateState, effects: readonly UpdateEffect[] = []): Decision => ({
  state,
  effects,
});

export const report = (
  job: UpdateJob,
  status: JobStatus,
  error: string | null = null,
): UpdateEffect => ({
  type: 'report',
  job,
  status,
  error,
});

/** What the gateway should know of the present phase. */
export const statusOf = ({ update }: UpdateState): readonly UpdateEffect[] => {
  switch (update.phase) {
    case 'idle':
      return [{ type: 'ask' }];
    case 'settled':
      return [report(update.job, update.outcome, update.error)];
    case 'waiting':
      return [{ type: 'request', job: update.job }];
    case 'undoing':
      // There is no word for it on the way up; what it is undone from is still so.
      return [report(update.job, update.outcome === 'failed' ? 'installing' : 'confirming')];
    default:
      return [report(update.job, update.phase)];
  }
};

export const running = ({ active }: UpdateState): readonly UpdateEffect[] =>
  active === null ? [] : [{ type: 'run', slot: active, trial: null }];

/** Texts may quote what an archive holds; what is longer explains nothing, and neither record nor report takes it. */
const longestError = 1_000;

export const shorten = (error: string): string => error.slice(0, longestError);

export const settle = (
  state: UpdateState,
  job: UpdateJob,
  outcome: Outcome,
  reason: string | null,
): Decision => {
  const error = reason === null ? null : shorten(reason);
  return {
    state: { ...state, update: { phase: 'settled', job, outcome, error } },
    effects: [{ type: 'discard', job }, report(job, outcome, error)],
  };
};
