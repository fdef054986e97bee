/** What the decisions on an execution (execution.ts) are made of: to stay, to refuse, to change, to end; how far it is and how long that may take. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { Decision, Execution, ExecutionPolicy } from './execution-state.js';

export const stay = (state: Execution): Decision => ({ state, effects: [] });

export const refuse = (state: Execution, refused: string): Decision => ({
  state,
  effects: [],
  refused,
});

export const change = (
  state: Execution,
  changes: Partial<Execution>,
  effects: Decision['effects'] = [],
): Decision => ({ state: { ...state, ...changes, version: state.version + 1 }, effects });

export const end = (state: Execution, status: ExecutionStatus, error: string | null): Decision =>
  change(state, { status, error, deadline: null }, ['notify']);

/** The order in which an attempt that goes well takes them. */
const ranks: Partial<Record<ExecutionStatus, number>> = {
  queued: 0,
  offered: 1,
  downloading: 2,
  verifying: 3,
  installing: 4,
  in_progress: 5,
  rebooting: 6,
  confirming: 7,
};
export const rank = (status: ExecutionStatus): number => ranks[status] ?? 0;

export const timeoutOf = (status: ExecutionStatus, policy: ExecutionPolicy): number => {
  switch (status) {
    case 'offered':
      return policy.offerTimeoutMs;
    case 'downloading':
    case 'verifying':
      return policy.downloadTimeoutMs;
    case 'installing':
      return policy.installTimeoutMs;
    case 'in_progress':
      // Whoever tells no stages does all of them in it.
      return policy.downloadTimeoutMs + policy.installTimeoutMs;
    case 'cancelling':
      return policy.cancelTimeoutMs;
    default:
      return policy.confirmTimeoutMs;
  }
};

/** Stages with one time limit between them; a step within one buys no time. */
export const stageOf = (status: ExecutionStatus): number => {
  switch (status) {
    case 'verifying':
      return rank('downloading');
    case 'in_progress':
      return rank('installing');
    case 'confirming':
      return rank('rebooting');
    default:
      return rank(status);
  }
};
