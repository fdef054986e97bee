/** What somebody may have meant who wrote a name that does not exist. */

/** The known name that is the same but for case, `-` and `_`, else the one that begins with it, else one that is at most two letters away. */
export const nearestName = (written: string, known: readonly string[]): string | undefined => {
  const bare = bareOf(written);
  const same = known.find((name) => bareOf(name) === bare);
  if (same !== undefined) return same;
  const longer = known.filter((name) => bare.length >= 3 && bareOf(name).startsWith(bare));
  if (longer.length === 1) return longer[0];
  const near = known
    .map((name) => ({ name, distance: editDistance(bare, bareOf(name)) }))
    .filter(({ name, distance }) => distance <= Math.min(2, name.length - 3))
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.name;
};

/** What is left of a name when spelling conventions are taken away: `--listen.mqtts-port` and `listen.mqttsPort` are one. */
const bareOf = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '');

/** Levenshtein's, one row at a time. */
const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
};
