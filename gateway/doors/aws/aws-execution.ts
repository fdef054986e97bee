/** An execution in the words of AWS IoT: pure functions of what the machine has of it and of what the device said last. */
import type {
  AwsExecution,
  AwsExecutionState,
  AwsExecutionSummary,
  AwsJobStatus,
} from '@holdfast/protos/mqtt/aws-jobs-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { ExecutionView } from '../../updates/device-executions.js';
import { hasRunOut } from '../../updates/execution-attempts.js';
import type { AwsWord } from './aws-job-rows.js';

/** With what was last said of it. */
export interface AwsView {
  readonly view: ExecutionView;
  readonly word: AwsWord;
}

/**
 * A device that says it succeeded has done its part: for it the job is over, though the proof may still be missing. What was taken back
 * before it was begun, and what another job took the place of, is removed.
 */
export const statusOf = ({ view, word: { said } }: AwsView): AwsJobStatus => {
  const { execution } = view;
  const ended = said === 'FAILED' || said === 'REJECTED' ? said : undefined;
  switch (execution.status) {
    case 'succeeded':
    case 'unproven':
      return 'SUCCEEDED';
    case 'cancelling':
    case 'cancelled':
      return 'CANCELED';
    case 'superseded':
      return 'REMOVED';
    case 'rolled_back':
      return 'FAILED';
    case 'failed':
      return ended ?? (hasRunOut(execution) ? 'TIMED_OUT' : 'FAILED');
    case 'queued':
      return ended ?? (hasRunOut(execution) ? 'TIMED_OUT' : 'REMOVED');
    default:
      return pendingStatusOf(view) ?? 'SUCCEEDED';
  }
};

/** Whether a device may be told of it at all: it was offered once. */
export const isOffered = ({ execution }: ExecutionView): boolean => execution.offers > 0;

/** Those that wait for the device or that it has begun: begun ones first, then as they came. */
export const pendingOf = (views: readonly ExecutionView[]): readonly ExecutionView[] => {
  const pending = views.filter(
    (view) => view.execution.door === 'aws' && pendingStatusOf(view) !== undefined,
  );
  const begun = pending.filter((view) => pendingStatusOf(view) === 'IN_PROGRESS');
  return [...begun, ...pending.filter((view) => !begun.includes(view))];
};

/** What is pending is so whatever the device said last. */
export const pendingStatusOf = ({
  execution: { status, claimed },
}: ExecutionView): 'QUEUED' | 'IN_PROGRESS' | undefined => {
  if (status === 'offered') return 'QUEUED';
  return claimed || !begunStatuses.has(status) ? undefined : 'IN_PROGRESS';
};

const begunStatuses: ReadonlySet<string> = new Set<ExecutionView['execution']['status']>([
  'downloading',
  'verifying',
  'installing',
  'in_progress',
  'rebooting',
  'confirming',
]);

export const stateOf = (of: AwsView): AwsExecutionState => ({
  status: statusOf(of),
  statusDetails: of.word.statusDetails,
  versionNumber: of.word.versionNumber,
});

export const summaryOf = ({ view, word }: AwsView): AwsExecutionSummary => ({
  jobId: view.campaign.id,
  executionNumber: view.number,
  versionNumber: word.versionNumber,
  queuedAt: seconds(view.queuedAt),
  ...(view.startedAt === null ? {} : { startedAt: seconds(view.startedAt) }),
  lastUpdatedAt: seconds(view.updatedAt),
});

export const describe = (of: AwsView, document?: JsonObject): AwsExecution => ({
  ...summaryOf(of),
  thingName: of.view.device,
  status: statusOf(of),
  statusDetails: of.word.statusDetails,
  ...(document === undefined ? {} : { jobDocument: document }),
});

const seconds = (at: number): number => Math.floor(at / 1_000);
