import {
  type AwsJobsParsed,
  type AwsJobsRejected,
  parseAwsJobGet,
  parseAwsJobsGet,
  parseAwsJobsStart,
  parseAwsJobUpdate,
} from '@holdfast/protos/mqtt/aws-jobs-payload';
import { type AwsJobsTopic, nextAwsJob } from '@holdfast/protos/mqtt/aws-topics';
import type { InboundMessage, OutboundMessage } from '../../broker/broker.js';

/**
 * The jobs topics of AWS IoT: each request is read as strictly as there and answered on its own topic, `$next` literally, to the client
 * that asked and to nobody else. A thing has no jobs of this kind yet, so there is nothing to notify it of.
 */
export interface AwsJobsDoorDeps {
  readonly publish: (message: OutboundMessage) => Promise<void>;
  readonly now: () => number;
}

export interface AwsJobsDoor {
  handle(topic: AwsJobsTopic, message: InboundMessage): Promise<void>;
}

type Answer =
  | { readonly outcome: 'accepted'; readonly body: object; readonly clientToken?: string }
  | {
      readonly outcome: 'rejected';
      readonly body: Pick<AwsJobsRejected, 'code' | 'message'>;
      readonly clientToken?: string;
    };

export const awsJobsDoor = ({ publish, now }: AwsJobsDoorDeps): AwsJobsDoor => ({
  async handle(topic, { topic: asked, payload, clientId, qos }) {
    const { outcome, body, clientToken } = answerTo(topic, payload);
    const timestamp = Math.floor(now() / 1_000);
    const answer = { ...body, timestamp, ...(clientToken === undefined ? {} : { clientToken }) };
    await publish({
      topic: `${asked}/${outcome}`,
      payload: Buffer.from(JSON.stringify(answer)),
      qos: qos === 0 ? 0 : 1,
      to: clientId,
    });
  },
});

const answerTo = (topic: AwsJobsTopic, payload: Uint8Array): Answer => {
  if (topic.kind === 'jobs') {
    return topic.operation === 'get'
      ? answer(parseAwsJobsGet(payload), accepted({ inProgressJobs: [], queuedJobs: [] }))
      : answer(parseAwsJobsStart(payload), accepted({}));
  }
  const { job, operation } = topic;
  if (operation === 'get') {
    return answer(parseAwsJobGet(payload), job === nextAwsJob ? accepted({}) : notFound(job));
  }
  const parsed = parseAwsJobUpdate(payload);
  return job === nextAwsJob ? answer(parsed, noUpdateOfNext) : answer(parsed, notFound(job));
};

/** What was asked is answered so, unless it could not be read. */
const answer = (
  parsed: AwsJobsParsed<{ readonly clientToken?: string }>,
  otherwise: Answer,
): Answer => {
  const { clientToken } = parsed.ok ? parsed.value : parsed;
  const token = clientToken === undefined ? {} : { clientToken };
  if (parsed.ok) return { ...otherwise, ...token };
  const { code, message } = parsed;
  return { outcome: 'rejected', body: { code, message }, ...token };
};

const accepted = (body: object): Answer => ({ outcome: 'accepted', body });

const notFound = (job: string): Answer => ({
  outcome: 'rejected',
  body: { code: 'ResourceNotFound', message: `There is no execution of the job '${job}'` },
});

/** Which one that is may have changed since the device asked: an update names the job. */
const noUpdateOfNext: Answer = {
  outcome: 'rejected',
  body: { code: 'InvalidTopic', message: 'An update names the job, not $next' },
};
