/**
 * The order of firmware versions, and ranges of them. Versions are read as Semantic Versioning has them, with one to four numbers and an
 * optional `v` (npm's `compare-versions`); everything else (`2024-rc`, a commit's hash) is equal to itself and otherwise not comparable:
 * it is in no range, and neither newer nor older than anything.
 */
import { compareVersions, validate } from 'compare-versions';

/** Below 0 when `a` is the older; undefined when the two cannot be compared. */
export const orderOfVersions = (a: string, b: string): number | undefined => {
  if (a === b) return 0;
  return isReadable(a) && isReadable(b) ? compareVersions(a, b) : undefined;
};

/** Wildcards (`1.x`), which the library takes, are equal to too many. */
const isReadable = (version: string): boolean =>
  validate(version) && !/(?:^v?|\.)[x*](?=[.+-]|$)/i.test(version);

/** Alternatives, each of comparisons that all have to hold. */
export type VersionRange = readonly (readonly VersionComparison[])[];

export interface VersionComparison {
  readonly operator: '<' | '<=' | '=' | '!=' | '>=' | '>';
  readonly version: string;
}

const comparison = /^(<=|>=|!=|<|>|=)?([^\s<>=!|]+)$/;

/** Reads `>=1.0 <2 || 3.1.4`; the empty range has everything. Undefined for what is none. */
export const parseVersionRange = (text: string): VersionRange | undefined => {
  if (text.trim() === '') return [[]];
  const alternatives = text.split('||').map((part) =>
    part
      .trim()
      .replace(/([<>=!]+)\s+/g, '$1')
      .split(/\s+/)
      .map(parseComparison),
  );
  const range: VersionComparison[][] = [];
  for (const comparisons of alternatives) {
    const known = comparisons.filter((item) => item !== undefined);
    if (known.length < comparisons.length) return undefined;
    range.push(known);
  }
  return range;
};

const parseComparison = (text: string): VersionComparison | undefined => {
  const [, operator = '=', version = ''] = comparison.exec(text) ?? [];
  if (!isReadable(version)) return undefined;
  // The pattern has no other operator.
  return { operator: operator as VersionComparison['operator'], version };
};

/** Whether the range has the version; one that is unknown or not comparable only the empty range has. */
export const isInRange = (version: string | null, range: VersionRange): boolean =>
  range.some((comparisons) =>
    comparisons.every((wanted) => version !== null && holds(version, wanted)),
  );

const holds = (version: string, { operator, version: other }: VersionComparison): boolean => {
  const order = orderOfVersions(version, other);
  if (order === undefined) return false;
  switch (operator) {
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '=':
      return order === 0;
    case '!=':
      return order !== 0;
    case '>=':
      return order >= 0;
    case '>':
      return order > 0;
  }
};
