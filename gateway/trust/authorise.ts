/** Who may publish and subscribe to what: one pure decision, asked live, at restore, for retained and for queued messages. */
import { isFilterOfDevice, isTopicOfDevice } from '@holdfast/protos/mqtt/topic-access';
import type { Identity } from './identity.js';
import { isCovered, isTopic, isTopicFilter } from './topic-filter.js';

/** `will` is a publish the broker makes later; `receive` is a delivery of a concrete topic. */
export type Verb = 'publish' | 'will' | 'subscribe' | 'receive';

export type Decision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: DenialReason };

export type DenialReason =
  | 'TOPIC_MALFORMED'
  | 'TOPIC_RESERVED'
  | 'TOPIC_OF_ANOTHER'
  | 'TOPIC_OUTSIDE_POLICY';

/** Whether `identity` may `verb` on `topic`, a filter when the verb is `subscribe`. */
export const authorise = (identity: Identity, verb: Verb, topic: string): Decision => {
  const isFilter = verb === 'subscribe';
  if (identity.kind === 'device') {
    const isOwn = isFilter
      ? isFilterOfDevice(topic, identity.device)
      : isTopicOfDevice(topic, identity.device);
    if (isOwn) return allowed;
  }
  if (!(isFilter ? isTopicFilter(topic) : isTopic(topic))) return denied('TOPIC_MALFORMED');
  // `$SYS`, `$share` and their like: nothing of ours is there, and a wildcard must never reach them.
  if (topic.startsWith('$')) return denied('TOPIC_RESERVED');
  if (identity.kind === 'device') return denied('TOPIC_OF_ANOTHER');
  const granted = verb === 'publish' || verb === 'will' ? identity.publish : identity.subscribe;
  return granted.some((policy) => isCovered(topic, policy))
    ? allowed
    : denied('TOPIC_OUTSIDE_POLICY');
};

const allowed: Decision = { allowed: true };
const denied = (reason: DenialReason): Decision => ({ allowed: false, reason });
