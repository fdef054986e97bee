import { awsThings } from './aws-topics.js';

/**
 * Which topics and filters are a device's own: beneath `dt/{id}/`, `devices/{id}/` and `$aws/things/{id}/` and nowhere else. Pure
 * and allocation-free, since every publish, subscribe, retained and queued delivery asks. `device` is an id that was checked
 * when its certificate was.
 */

/** Whether a device may have to do with this concrete topic at all (no wildcards, no NUL, not empty below the id). */
export const isTopicOfDevice = (topic: string, device: string): boolean => {
  const start = startOfOwn(topic, device);
  if (start < 0 || start >= topic.length) return false;
  for (let at = start; at < topic.length; at += 1) {
    const code = topic.charCodeAt(at);
    if (code === plus || code === hash || code === 0) return false;
  }
  return true;
};

/**
 * Whether a device may subscribe to this filter: literal up to and including its own id, then any well-formed filter.
 * So no leading wildcard, no `$share/…`, no other `$…` can be one. `dt/{id}/#` is.
 */
export const isFilterOfDevice = (filter: string, device: string): boolean => {
  const start = startOfOwn(filter, device);
  if (start < 0 || start >= filter.length) return false;
  for (let at = start; at < filter.length; at += 1) {
    const code = filter.charCodeAt(at);
    if (code === 0) return false;
    if (code !== plus && code !== hash) continue;
    // A wildcard stands alone in its level, and `#` only in the last (MQTT 3.1.1, 4.7.1).
    const isLast = at === filter.length - 1;
    if (filter.charCodeAt(at - 1) !== slash) return false;
    if (!isLast && (code === hash || filter.charCodeAt(at + 1) !== slash)) return false;
  }
  return true;
};

const slash = 47;
const plus = 43;
const hash = 35;

const prefixOf = (topic: string): number => {
  if (topic.startsWith('dt/')) return 3;
  if (topic.startsWith('devices/')) return 8;
  return topic.startsWith(awsThings) ? awsThings.length : -1;
};

/** Where the part below the device's id begins; -1 when the topic is not beneath it. */
const startOfOwn = (topic: string, device: string): number => {
  const prefix = prefixOf(topic);
  if (prefix < 0 || device.length === 0 || !topic.startsWith(device, prefix)) return -1;
  const end = prefix + device.length;
  return topic.charCodeAt(end) === slash ? end + 1 : -1;
};
