import { isDeviceId, isEntityId, isSensorName } from './device-id.js';
import {
  type Outcome,
  parseShadow,
  type ShadowDownTopic,
  type ShadowRequestTopic,
  shadowRest,
} from './shadow-topics.js';

/**
 * The MQTT topics between a device and its gateway, built and parsed here and nowhere else: the native set `dt/{id}/…` and the
 * older set `devices/{id}/…`. Those of AWS IoT are in `aws-topics.ts`.
 */
export type Topic = UpTopic | DownTopic;

/** What a device publishes. */
export type UpTopic =
  | { readonly kind: 'telemetry'; readonly device: string; readonly sensor: string }
  | ShadowRequestTopic
  | { readonly kind: 'command_response'; readonly device: string; readonly command: string }
  | ({ readonly kind: 'job_request'; readonly operation: JobOperationName } & JobOf)
  | { readonly kind: 'time_get'; readonly device: string }
  | { readonly kind: 'heartbeat' | 'status' | 'notify'; readonly device: string };

/** What a gateway publishes to a device. */
export type DownTopic =
  /** The delta goes out on both of its topics. */
  | ShadowDownTopic
  | { readonly kind: 'command'; readonly device: string; readonly command: string }
  | { readonly kind: 'jobs_notify'; readonly device: string }
  | ({ readonly kind: 'job_answer'; readonly operation: JobOperationName } & JobOf & Answer)
  | { readonly kind: 'time_now'; readonly device: string }
  /** `devices/{id}/command`, the only down topic of the older set. */
  | { readonly kind: 'older_command'; readonly device: string };

export type JobOperationName = 'get' | 'update';

interface JobOf {
  readonly device: string;
  readonly job: string;
}
interface Answer {
  readonly outcome: Outcome;
}

/** Longer topics are no topics of ours: two ids, a name and the fixed words fit well within. */
const maxTopicLength = 256;

/** The topic a device or gateway means; undefined when it is none of ours, or names something outside the rules. */
export const parseTopic = (topic: string): Topic | undefined => {
  if (topic.length > maxTopicLength) return undefined;
  const isNative = topic.startsWith('dt/');
  if (!isNative && !topic.startsWith('devices/')) return undefined;
  const start = isNative ? 3 : 8;
  const end = topic.indexOf('/', start);
  if (end < 0) return undefined;
  const device = topic.slice(start, end);
  if (!isDeviceId(device)) return undefined;
  const rest = end + 1;
  if (!isNative) return parseOlder(topic.slice(rest), device);
  // Telemetry first: it is nearly all of the traffic.
  if (topic.startsWith('telemetry/', rest)) {
    const sensor = topic.slice(rest + 10);
    return isSensorName(sensor) ? { kind: 'telemetry', device, sensor } : undefined;
  }
  if (topic.startsWith('shadow/', rest)) return parseShadow(topic.slice(rest + 7), device);
  if (topic.startsWith('commands/', rest)) return parseCommand(topic.slice(rest + 9), device);
  if (topic.startsWith('jobs/', rest)) return parseJob(topic.slice(rest + 5), device);
  if (topic.endsWith('/time/get') && topic.length === rest + 8) return { kind: 'time_get', device };
  if (topic.endsWith('/time/now') && topic.length === rest + 8) return { kind: 'time_now', device };
  return undefined;
};

/** The one spelling of a topic. The parts are trusted: they were parsed on entry. */
export const buildTopic = (topic: Topic): string => {
  const { device } = topic;
  switch (topic.kind) {
    case 'telemetry':
      return `dt/${device}/telemetry/${topic.sensor}`;
    case 'shadow_request':
    case 'shadow_answer':
    case 'shadow_documents':
    case 'shadow_delta':
      return `dt/${device}/shadow/${shadowRest(topic)}`;
    case 'command':
      return `dt/${device}/commands/${topic.command}`;
    case 'command_response':
      return `dt/${device}/commands/${topic.command}/response`;
    case 'jobs_notify':
      return `dt/${device}/jobs/notify`;
    case 'job_request':
      return `dt/${device}/jobs/${topic.job}/${topic.operation}`;
    case 'job_answer':
      return `dt/${device}/jobs/${topic.job}/${topic.operation}/${topic.outcome}`;
    case 'time_get':
      return `dt/${device}/time/get`;
    case 'time_now':
      return `dt/${device}/time/now`;
    case 'heartbeat':
    case 'status':
    case 'notify':
      return `devices/${device}/${topic.kind}`;
    case 'older_command':
      return `devices/${device}/command`;
  }
};

/** Whether a device may publish it; every other topic is the gateway's to publish. */
export const isUpTopic = (topic: Topic): topic is UpTopic => upKinds.has(topic.kind);

const upKinds: ReadonlySet<Topic['kind']> = new Set<UpTopic['kind']>([
  'telemetry',
  'shadow_request',
  'command_response',
  'job_request',
  'time_get',
  'heartbeat',
  'status',
  'notify',
]);

const parseOlder = (rest: string, device: string): Topic | undefined => {
  switch (rest) {
    case 'heartbeat':
    case 'status':
    case 'notify':
      return { kind: rest, device };
    case 'command':
      return { kind: 'older_command', device };
    default:
      return undefined;
  }
};

const parseCommand = (rest: string, device: string): Topic | undefined => {
  const isResponse = rest.endsWith('/response');
  const command = isResponse ? rest.slice(0, -9) : rest;
  if (!isEntityId(command)) return undefined;
  return { kind: isResponse ? 'command_response' : 'command', device, command };
};

const parseJob = (rest: string, device: string): Topic | undefined => {
  if (rest === 'notify') return { kind: 'jobs_notify', device };
  const end = rest.indexOf('/');
  if (end < 0) return undefined;
  const job = rest.slice(0, end);
  if (!isEntityId(job)) return undefined;
  const verb = rest.slice(end + 1);
  switch (verb) {
    case 'get':
    case 'update':
      return { kind: 'job_request', operation: verb, device, job };
    case 'get/accepted':
    case 'get/rejected':
    case 'update/accepted':
    case 'update/rejected': {
      const [operation, outcome] = verb.split('/') as [JobOperationName, Outcome]; // the cases above
      return { kind: 'job_answer', operation, outcome, device, job };
    }
    default:
      return undefined;
  }
};
