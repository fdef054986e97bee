/** Lengths of time and amounts of data as people type them. Each throws REQUEST_INVALID with what to type instead. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const pattern = /^(\d+(?:\.\d+)?)\s*([smhdw])$/;

/** Whether it is meant as a length of time: `90s`, `30m`, `1h`, `1.5d`, `2w`. */
export const isDuration = (text: string): boolean => pattern.test(text.trim());

/** In whole seconds. */
export const parseDuration =
  (what: string) =>
  (text: string): number => {
    const [, count = '', unit = ''] = pattern.exec(text.trim()) ?? [];
    const factor = seconds[unit];
    if (factor !== undefined) return Math.round(Number(count) * factor);
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${what} has to be a length of time as 90s, 30m, 1h, 1.5d or 2w, not '${text}'`,
    );
  };

/** Seconds in the words that `parseDuration` takes. */
export const formatDuration = (total: number): string => {
  for (const unit of ['w', 'd', 'h', 'm'] as const) {
    const factor = seconds[unit] ?? 1;
    if (total >= factor && total % factor === 0) return `${total / factor}${unit}`;
  }
  return `${total}s`;
};

const units: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };

/** `500kB`, `1.5MB` (powers of 1,000) in bytes. */
export const parseBytes =
  (what: string) =>
  (text: string): number => {
    const [, count = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]?b?)$/i.exec(text.trim()) ?? [];
    const factor = units[unit.toLowerCase().replace(/^([kmg])$/, '$1b')];
    if (count !== '' && factor !== undefined) return Math.round(Number(count) * factor);
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${what} has to be an amount as 500kB or 1.5MB, not '${text}'`,
    );
  };

/** `+2h` from now, or a time as 2026-11-23T02:00 (of this machine's time zone) or 2026-11-23T02:00:00Z. */
export const parseTime = (text: string, now: number): Date => {
  const typed = text.trim();
  if (typed.startsWith('+')) {
    return new Date(now + parseDuration('the time')(typed.slice(1)) * 1000);
  }
  const time = new Date(/^\d{4}-\d\d-\d\d$/.test(typed) ? `${typed}T00:00` : typed);
  if (/^\d{4}-/.test(typed) && !Number.isNaN(time.getTime())) return time;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `'${text}' is no time: write +2h, 2026-11-23T02:00 or 2026-11-23T02:00:00Z`,
  );
};
