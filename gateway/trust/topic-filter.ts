/** MQTT topic filters (3.1.1, 4.7) as plain comparisons, for policies; subscriptions are matched by an index of the broker. */

/** Whether a filter is well formed: `+` and `#` alone in their level, `#` only in the last, no NUL, not empty. */
export const isTopicFilter = (filter: string): boolean => {
  if (filter.length === 0 || filter.includes('\0')) return false;
  const levels = filter.split('/');
  return levels.every(
    (level, at) =>
      (!level.includes('+') || level === '+') &&
      (!level.includes('#') || (level === '#' && at === levels.length - 1)),
  );
};

/** Whether a topic can be published to: not empty, no wildcards, no NUL. */
export const isTopic = (topic: string): boolean =>
  topic.length > 0 && !topic.includes('+') && !topic.includes('#') && !topic.includes('\0');

/**
 * Whether everything that `filter` matches is matched by `policy` too; a topic is a filter that matches itself alone.
 * A leading wildcard covers nothing beneath `$` (4.7.2).
 */
export const isCovered = (filter: string, policy: string): boolean => {
  const asked = filter.split('/');
  const granted = policy.split('/');
  if (asked[0]?.startsWith('$') && (granted[0] === '#' || granted[0] === '+')) return false;
  for (let at = 0; at < granted.length; at += 1) {
    const grant = granted[at];
    if (grant === '#') return true;
    const ask = asked[at];
    // `a/#` also matches `a` itself, so it is covered by `a/#` alone.
    if (ask === undefined || ask === '#') return false;
    if (grant !== '+' && grant !== ask) return false;
  }
  // `a/#` asked of the policy `a`: one level longer, not covered.
  return asked.length === granted.length;
};
