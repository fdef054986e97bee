/** What a device says on the jobs topics of AWS IoT, in the words of the execution machine. */
import type { AwsJobUpdateRequest } from '@holdfast/protos/mqtt/aws-jobs-payload';
import type { ExecutionReport, ExecutionView } from '../../updates/device-executions.js';
import { pendingStatusOf } from './aws-execution.js';

const statuses = {
  IN_PROGRESS: 'in_progress',
  SUCCEEDED: 'succeeded',
  FAILED: 'failed',
  REJECTED: 'failed',
} as const satisfies Record<AwsJobUpdateRequest['status'], ExecutionReport['status']>;

/** `boot`: the connection that the device came with last. */
export const awsJobReport = (
  view: ExecutionView,
  { status, statusDetails, stepTimeoutInMinutes }: AwsJobUpdateRequest,
  boot: string | undefined,
): ExecutionReport => {
  const details = statusDetails ?? {};
  const { version } = details;
  const progress = percentIn(details.progress);
  const error = errorOf(status, details);
  // A restart is a connection since it was begun: what goes on after one is reported as in progress too, and must not hide it.
  const namesRun = status !== 'IN_PROGRESS' || pendingStatusOf(view) === 'QUEUED';
  return {
    door: 'aws',
    status: statuses[status],
    ...(statusDetails ? { details: statusDetails } : {}),
    ...(boot !== undefined && namesRun ? { boot } : {}),
    ...(version === undefined ? {} : { version }),
    ...(progress === undefined ? {} : { progress }),
    ...(error === undefined ? {} : { error }),
    ...(stepTimeoutInMinutes === undefined
      ? {}
      : { stepTimeoutMs: Math.max(0, stepTimeoutInMinutes) * 60_000 }),
  };
};

const errorOf = (
  status: AwsJobUpdateRequest['status'],
  { reason, error, message }: Readonly<Record<string, string>>,
): string | undefined => {
  const said = reason ?? error ?? message;
  if (status === 'REJECTED') return said === undefined ? refusal : `${refusal}: ${said}`;
  return status === 'FAILED' ? said : undefined;
};

const refusal = 'the device refuses it';

/** `40` or `40%`. */
const percentIn = (text = ''): number | undefined => {
  const found = /^(\d{1,3}(?:\.\d{1,6})?)\s*%?$/.exec(text.trim());
  const percent = Number(found?.[1] ?? Number.NaN);
  return percent <= 100 ? percent : undefined;
};
