/** The statuses of an execution, in the order in which one that goes well takes them (DESIGN.md, "Execution of an update"). */
import * as v from 'valibot';

export const executionStatuses = [
  'queued',
  'offered',
  'downloading',
  'verifying',
  'installing',
  /** Under way, through a door or in a job that tells no stages. */
  'in_progress',
  'rebooting',
  'confirming',
  'succeeded',
  'unproven',
  'failed',
  'rolled_back',
  'cancelling',
  'cancelled',
  'superseded',
] as const;
export type ExecutionStatus = (typeof executionStatuses)[number];
export const executionStatus = v.picklist(executionStatuses);

const terminal: ReadonlySet<ExecutionStatus> = new Set<ExecutionStatus>([
  'succeeded',
  'unproven',
  'failed',
  'rolled_back',
  'cancelled',
  'superseded',
]);

/** Whether an execution of this status is over; nothing leads out of such a status. */
export const isTerminal = (status: ExecutionStatus): boolean => terminal.has(status);
