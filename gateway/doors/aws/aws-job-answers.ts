/** What the jobs topics of AWS IoT answer: `accepted` with what was asked for, or `rejected` with one of its codes. */
import type {
  AwsExecutionState,
  AwsJobsErrorCode,
  AwsJobsParsed,
  AwsJobUpdateRequest,
} from '@holdfast/protos/mqtt/aws-jobs-payload';
import { type AwsView, stateOf } from './aws-execution.js';

export interface Answer {
  readonly outcome: 'accepted' | 'rejected';
  readonly body: object;
}

/** What was asked is answered so, unless it could not be read. */
export const answer = async <T>(
  parsed: AwsJobsParsed<T>,
  work: (request: T) => Promise<Answer>,
): Promise<Answer> => (parsed.ok ? work(parsed.value) : rejected(parsed.code, parsed.message));

export const accepted = (body: object): Answer => ({ outcome: 'accepted', body });

export const rejected = (
  code: AwsJobsErrorCode,
  message: string,
  executionState?: AwsExecutionState,
): Answer => ({
  outcome: 'rejected',
  body: { code, message, ...(executionState && { executionState }) },
});

export const notFound = (job: string): Answer =>
  rejected('ResourceNotFound', `There is no execution of the job '${job}'`);

export const noTransition = (of: AwsView, { status }: AwsJobUpdateRequest): Answer => {
  const state = stateOf(of);
  const message = `An execution that is ${state.status} cannot become ${status}`;
  return rejected('InvalidStateTransition', message, state);
};

/** Which one that is may have changed since the device asked: an update names the job. */
export const noUpdateOfNext = rejected('InvalidTopic', 'An update names the job, not $next');
export const throttled = rejected('RequestThrottled', 'Too many requests; ask again in a moment');
export const internal = rejected('InternalError', 'The request could not be carried out');
