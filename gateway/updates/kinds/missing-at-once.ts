/** How many devices were missing at once during a campaign, by what the site put into its journal. */

/** An entry of the kind `execution`, as the journal holds it. */
export interface ExecutionEntry {
  readonly campaign: string;
  readonly device: string;
  readonly status: string;
  readonly door: string | null;
}

/** On these doors a device asks before it changes itself; on the others it does as it likes from the offer on. */
const asking: ReadonlySet<string> = new Set(['native', 'serial']);
const changing: ReadonlySet<string> = new Set([
  'installing',
  'in_progress',
  'rebooting',
  'confirming',
]);
const offered: ReadonlySet<string> = new Set(['offered', 'downloading', 'verifying']);

/** Pure. Every group of devices that were missing together, in the order of the journal. */
export const missingTogether = (entries: readonly ExecutionEntry[]): string[][] => {
  const missing = new Set<string>();
  const groups: string[][] = [];
  for (const { device, status, door } of entries) {
    const isMissing = changing.has(status) || (offered.has(status) && !asking.has(door ?? ''));
    const before = missing.size;
    if (isMissing) missing.add(device);
    else missing.delete(device);
    if (missing.size > before) groups.push([...missing]);
  }
  return groups;
};
