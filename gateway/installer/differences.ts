/** What is another within a setting that is a list or a section, so that one baud rate among ten lines can be seen. */
import type { Change } from '../site-file/compare.js';

/** An entry that came has no `from`, one that went no `to`. Entries of a list are known by their name, device or unit. */
export const differencesOf = ({ setting, from, to }: Change): Change[] => {
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  const [before, after] = [entriesOf(from), entriesOf(to)];
  if (before === undefined || after === undefined) return [{ setting, from, to }];
  const found = [...new Set([...before.keys(), ...after.keys()])].flatMap((key) =>
    differencesOf({ setting: `${setting}${key}`, from: before.get(key), to: after.get(key) }),
  );
  // The same entries in another order.
  return found.length === 0 ? [{ setting, from, to }] : found;
};

/** Undefined for what is shown as a whole. */
const entriesOf = (value: unknown): Map<string, unknown> | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!Array.isArray(value)) {
    return new Map(Object.entries(value).map(([key, entry]) => [`.${key}`, entry]));
  }
  const entries = new Map(value.map((entry: unknown) => [`[${labelOf(entry)}]`, entry]));
  return entries.size === value.length && !entries.has('[]') ? entries : undefined;
};

const labelOf = (entry: unknown): string => {
  if (typeof entry !== 'object' || entry === null) return '';
  const { name, device, user, tenant } = entry as Readonly<Record<string, unknown>>;
  return [name, device, user, tenant].find((label) => typeof label === 'string') ?? '';
};
