/**
 * Who may do what: one pure decision for every door. Topics are asked for live, at restore, for retained and for queued messages; client
 * ids and devices when somebody says that they are theirs; rights by the routes of the HTTP doors.
 */
import { awsThings, parseAwsRequest } from '@holdfast/protos/mqtt/aws-topics';
import { deviceOfClientId, isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { isFilterOfDevice, isTopicOfDevice } from '@holdfast/protos/mqtt/topic-access';
import type { Identity, Principal } from './identity.js';
import { holderOf, includesRole, type Right } from './rights.js';
import { isShared, parseShared } from './shared-filter.js';
import { isCovered, isTopic, isTopicFilter } from './topic-filter.js';

/** `will` is a publish the broker makes later; `receive` is a delivery of a concrete topic: live, retained or queued. */
export type TopicVerb = 'publish' | 'will' | 'subscribe' | 'receive';

/** `connect` is asked of an MQTT client id, `speak` of a device that one says things for, `call` of a right. */
export type Verb = TopicVerb | 'connect' | 'speak' | 'call';

const reasons = [
  'TOPIC_MALFORMED',
  'TOPIC_TOO_LONG',
  'TOPIC_RESERVED',
  'TOPIC_OF_ANOTHER',
  'TOPIC_OUTSIDE_POLICY',
  'CLIENT_ID_MALFORMED',
  'CLIENT_ID_OF_ANOTHER',
  'DEVICE_OF_ANOTHER',
  /** This kind of identity does nothing of the kind anywhere. */
  'NOT_OFFERED',
  'CERTIFICATE_NEEDED',
  'TOKEN_NEEDED',
  'SIGN_IN_NEEDED',
  'ROLE_TOO_LOW',
] as const;
export type DenialReason = (typeof reasons)[number];

export type Decision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: DenialReason };

/** Whether `who` may do this; `what` is a filter when the verb is `subscribe`. */
export function authorise(who: Principal, verb: 'call', what: Right): Decision;
export function authorise(
  who: Principal,
  verb: TopicVerb | 'connect' | 'speak',
  what: string,
): Decision;
export function authorise(who: Principal, verb: Verb, what: string): Decision {
  switch (verb) {
    case 'publish':
    case 'will':
    case 'subscribe':
    case 'receive':
      if (who.kind === 'device' || who.kind === 'service') return decideTopic(who, verb, what);
      return denials.NOT_OFFERED;
    case 'connect':
      return decideClientId(who, what);
    case 'speak':
      return decideDevice(who, what);
    case 'call':
      // Only the overload for rights has this verb.
      return decideRight(who, what as Right);
  }
}

/** As long as the longest of ours five times over. What is kept by topic is a tree, and walked level by level. */
export const longestTopic = 1_024;
export const mostTopicLevels = 100;

const decideTopic = (who: Identity, verb: TopicVerb, topic: string): Decision => {
  const isFilter = verb === 'subscribe';
  if (isTooLong(topic)) return denials.TOPIC_TOO_LONG;
  if (isFilter && who.kind === 'service' && isShared(topic)) {
    const shared = parseShared(topic);
    return shared === undefined ? denials.TOPIC_MALFORMED : decideTopic(who, verb, shared.filter);
  }
  if (who.kind === 'device') {
    const isOwn = isFilter
      ? isFilterOfDevice(topic, who.device)
      : isTopicOfDevice(topic, who.device);
    // Beneath `$aws/` it publishes requests and nothing else, as with AWS IoT itself.
    const isNoRequest = isSaid(verb) && isReserved(topic) && parseAwsRequest(topic) === undefined;
    if (isOwn) return isNoRequest ? denials.TOPIC_RESERVED : allowed;
  }
  if (!(isFilter ? isTopicFilter(topic) : isTopic(topic))) return denials.TOPIC_MALFORMED;
  if (who.kind === 'device' && topic.startsWith(awsThings)) return denials.TOPIC_OF_ANOTHER;
  // `$SYS` and its like: nothing of ours is there, and a wildcard must never reach them.
  if (isReserved(topic)) return denials.TOPIC_RESERVED;
  if (who.kind === 'device') return denials.TOPIC_OF_ANOTHER;
  const granted = isSaid(verb) ? who.publish : who.subscribe;
  return isGranted(topic, granted) ? allowed : denials.TOPIC_OUTSIDE_POLICY;
};

/** By one of the filters, and not excepted by one that begins with `!`. */
const isGranted = (topic: string, granted: readonly string[]): boolean =>
  granted.some((policy) => !policy.startsWith('!') && isCovered(topic, policy)) &&
  !granted.some((policy) => policy.startsWith('!') && isCovered(topic, policy.slice(1)));

const isReserved = (topic: string): boolean => topic.startsWith('$');
const isSaid = (verb: TopicVerb): boolean => verb === 'publish' || verb === 'will';

const isTooLong = (topic: string): boolean => {
  // A topic of so few characters cannot have too many levels; nearly every one is that short.
  if (topic.length < mostTopicLevels) return false;
  if (topic.length > longestTopic) return true;
  let levels = 1;
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) levels += 1;
  return levels > mostTopicLevels;
};

/** A device's is its id, or its id, a colon and a suffix; those of services lie apart, so theirs may be any. */
const decideClientId = (who: Principal, clientId: string): Decision => {
  switch (who.kind) {
    case 'device': {
      const device = deviceOfClientId(clientId);
      if (device === undefined) return denials.CLIENT_ID_MALFORMED;
      return device === who.device ? allowed : denials.CLIENT_ID_OF_ANOTHER;
    }
    case 'service':
      return serviceClientId.test(clientId) ? allowed : denials.CLIENT_ID_MALFORMED;
    default:
      return denials.NOT_OFFERED;
  }
};

const serviceClientId = /^[A-Za-z0-9_.: -]{1,128}$/;

const decideDevice = (who: Principal, device: string): Decision => {
  if (who.kind !== 'device' && who.kind !== 'line' && who.kind !== 'target') {
    return denials.NOT_OFFERED;
  }
  // The gateway token speaks for every device.
  if (who.device === null) return isDeviceId(device) ? allowed : denials.DEVICE_OF_ANOTHER;
  return who.device === device ? allowed : denials.DEVICE_OF_ANOTHER;
};

const decideRight = (who: Principal, right: Right): Decision => {
  const holder = holderOf(right);
  if (holder === undefined) return denials.NOT_OFFERED;
  if (holder === 'anyone') return allowed;
  if (holder === 'target') {
    return who.kind === 'device' || who.kind === 'target' ? allowed : denials.TOKEN_NEEDED;
  }
  if (holder === 'device' || holder === 'url') {
    const isHolder = who.kind === 'device' || (who.kind === 'url' && holder === 'url');
    return isHolder ? allowed : denials.CERTIFICATE_NEEDED;
  }
  if (who.kind !== 'person') return denials.SIGN_IN_NEEDED;
  return includesRole(who.role, holder) ? allowed : denials.ROLE_TOO_LOW;
};

const allowed: Decision = { allowed: true };

/** Made once: a flood of refusals makes no garbage. */
const denials = Object.fromEntries(
  reasons.map((reason) => [reason, { allowed: false, reason }]),
  // Every reason has its entry; fromEntries knows no more than that the keys are strings.
) as Readonly<Record<DenialReason, Decision>>;
