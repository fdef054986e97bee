import { isDeviceId, isEntityId } from './device-id.js';
import {
  parseShadow,
  type ShadowDownTopic,
  type ShadowRequestTopic,
  shadowRest,
} from './shadow-topics.js';

/**
 * The topics of AWS IoT that a gateway serves, beneath `$aws/things/{thing}/`: what a device publishes is parsed, what it is told is built,
 * here and nowhere else. The thing is the device, by its id. An answer goes to the topic of its request, followed by `/accepted` or
 * `/rejected`.
 */
export type AwsRequestTopic = ShadowRequestTopic | AwsJobsTopic;

/** `job` may be `$next`, the next one whatever it is. */
export type AwsJobsTopic =
  | { readonly kind: 'jobs'; readonly operation: 'get' | 'start-next'; readonly device: string }
  | {
      readonly kind: 'job';
      readonly operation: 'get' | 'update';
      readonly device: string;
      readonly job: string;
    };

export const awsThings = '$aws/things/';

/** In place of a job's id. */
export const nextAwsJob = '$next';

/** As AWS IoT has it, where a thing may have up to 128 characters; nothing longer is a topic of it. */
const maxTopicLength = 256;

/** What a device asks for; undefined for every other topic, those the gateway publishes among them. */
export const parseAwsRequest = (topic: string): AwsRequestTopic | undefined => {
  if (!topic.startsWith(awsThings) || topic.length > maxTopicLength) return undefined;
  const end = topic.indexOf('/', awsThings.length);
  if (end < 0) return undefined;
  const device = topic.slice(awsThings.length, end);
  if (!isDeviceId(device)) return undefined;
  const rest = topic.slice(end + 1);
  if (rest.startsWith('shadow/')) {
    const shadow = parseShadow(rest.slice(7), device);
    return shadow?.kind === 'shadow_request' ? shadow : undefined;
  }
  return rest.startsWith('jobs/') ? parseJobs(rest.slice(5), device) : undefined;
};

/** The parts are trusted: they were parsed on entry. */
export const buildAwsShadowTopic = (topic: ShadowDownTopic | ShadowRequestTopic): string =>
  `${awsThings}${topic.device}/shadow/${shadowRest(topic)}`;

/** What a device is told of its jobs without having asked. */
export const buildAwsJobsNotice = (device: string, notice: 'notify' | 'notify-next'): string =>
  `${awsThings}${device}/jobs/${notice}`;

const parseJobs = (rest: string, device: string): AwsJobsTopic | undefined => {
  if (rest === 'get' || rest === 'start-next') return { kind: 'jobs', operation: rest, device };
  const end = rest.indexOf('/');
  const job = rest.slice(0, end);
  const operation = rest.slice(end + 1);
  if (end < 0 || !(job === nextAwsJob || isEntityId(job))) return undefined;
  return operation === 'get' || operation === 'update'
    ? { kind: 'job', operation, device, job }
    : undefined;
};
