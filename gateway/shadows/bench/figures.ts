/** What a bench found out, and what it is to be compared with. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The same in another, simpler way. */
  readonly baseline?: { readonly what: string; readonly value: number };
  readonly aim?: string;
}

export const percentile = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
};

export const tableOf = (figures: readonly Figure[]): string =>
  figures
    .map(({ what, value, unit, baseline, aim }) =>
      [
        what.padEnd(58),
        `${rounded(value)} ${unit}`.padStart(16),
        baseline === undefined ? '' : `   ${baseline.what}: ${rounded(baseline.value)} ${unit}`,
        aim === undefined ? '' : `   (aim: ${aim})`,
      ].join(''),
    )
    .join('\n');

const rounded = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(value < 10 ? 2 : 1);
