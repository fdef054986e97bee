/** What one look at the machine has found. */

/** `skipped`: could not be looked at, and why is said; it counts as nothing. */
export type Severity = 'ok' | 'skipped' | 'warning' | 'failure';

export interface Finding {
  /** The check, as `dns` or `serial`. */
  readonly check: string;
  readonly severity: Severity;
  /** One line: what was looked at, and how it is. */
  readonly text: string;
  /** What to do about it; on every warning and failure. */
  readonly next?: string;
  /** Figures for programs. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The findings of one check, which is named once. */
export const findingsOf = (check: string) => ({
  ok: (text: string, data?: Finding['data']): Finding => make(check, 'ok', text, undefined, data),
  skipped: (text: string): Finding => make(check, 'skipped', text),
  warning: (text: string, next: string, data?: Finding['data']): Finding =>
    make(check, 'warning', text, next, data),
  failure: (text: string, next: string, data?: Finding['data']): Finding =>
    make(check, 'failure', text, next, data),
});

const make = (
  check: string,
  severity: Severity,
  text: string,
  next?: string,
  data?: Finding['data'],
): Finding => ({
  check,
  severity,
  text,
  ...(next !== undefined && { next }),
  ...(data !== undefined && { data }),
});

/** 0 when all is well, 1 with warnings, 2 with failures. */
export const exitCodeOf = (findings: readonly Finding[]): 0 | 1 | 2 => {
  if (findings.some(({ severity }) => severity === 'failure')) return 2;
  return findings.some(({ severity }) => severity === 'warning') ? 1 : 0;
};
