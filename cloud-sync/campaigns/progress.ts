/** How an execution's change of status moves the counters of its campaign: committed with it, so that nothing is ever counted by scanning. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';

export const counters = [
  'queued',
  'in_progress',
  'succeeded',
  'unproven',
  'failed',
  'rolled_back',
  'cancelled',
  'superseded',
] as const;
export type Counter = (typeof counters)[number];

export type CounterChanges = Readonly<Partial<Record<Counter | 'total', number>>>;

/** The counter that an execution of this status stands in. */
export const counterOf = (status: ExecutionStatus): Counter => {
  switch (status) {
    case 'queued':
    case 'succeeded':
    case 'unproven':
    case 'failed':
    case 'rolled_back':
    case 'cancelled':
    case 'superseded':
      return status;
    default:
      return 'in_progress';
  }
};

/** What to add to the counters when an execution goes from one status (undefined: it is new) to another. */
export const changesOf = (
  from: ExecutionStatus | undefined,
  to: ExecutionStatus,
): CounterChanges => {
  const entered = counterOf(to);
  if (from === undefined) return { total: 1, [entered]: 1 };
  const left = counterOf(from);
  return left === entered ? {} : { [left]: -1, [entered]: 1 };
};

/** An execution, as far as it is counted. */
export interface Counted {
  /** From 0. */
  readonly phase: number;
  readonly status: ExecutionStatus;
}

/** The same by phase: one that comes to belong to another phase leaves the counters of the one before. */
export const changesByPhase = (
  from: Counted | undefined,
  to: Counted,
): ReadonlyMap<number, CounterChanges> => {
  if (from === undefined || from.phase === to.phase) {
    return new Map([[to.phase, changesOf(from?.status, to.status)]]);
  }
  return new Map([
    [from.phase, { total: -1, [counterOf(from.status)]: -1 }],
    [to.phase, changesOf(undefined, to.status)],
  ]);
};

/** Counters that start at nothing. */
export const noCounts = {
  total: 0,
  queued: 0,
  in_progress: 0,
  succeeded: 0,
  unproven: 0,
  failed: 0,
  rolled_back: 0,
  cancelled: 0,
  superseded: 0,
} as const;
