/** What the shadow commands have in common on the command line. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import type { ShadowChoice } from './shadow-source.js';

export interface ShadowOptions {
  readonly site?: string;
  readonly name: string;
}

export const withShadowOptions = (command: Command): Command =>
  command
    .option('--site <id>', 'the site of the device')
    .option('--name <shadow>', 'a named shadow', '-');

export const choiceOf = (device: string, { site, name }: ShadowOptions): ShadowChoice => ({
  device,
  site,
  name,
});

/**
 * `desired.mode`, or `mode` alone for what is desired; as a JSON list where a key holds a dot: `["desired","a.b"]`. Errors:
 * REQUEST_INVALID.
 */
export const parsePath = (text: string): readonly string[] => {
  const keys = text.startsWith('[') ? keysOfList(text) : text.split('.');
  if (keys.length === 0 || keys.some((key) => key === '')) {
    throw new HoldfastError('REQUEST_INVALID', `'${text}' is no path: write it as desired.mode`);
  }
  return keys[0] === 'desired' || keys[0] === 'reported' ? keys : ['desired', ...keys];
};

export const pathText = (path: readonly string[]): string =>
  path.some((key) => key.includes('.')) ? JSON.stringify(path) : path.join('.');

const keysOfList = (text: string): readonly string[] => {
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((key) => typeof key === 'string')) return list;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return [];
};

const units = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A time, or how long ago: `2026-11-22`, `2026-11-22T08:00Z`, `90m`, `36h`, `7d`. Errors: REQUEST_INVALID. */
export const parseSince = (text: string, now: number): Date => {
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const time =
    count === undefined
      ? Date.parse(text)
      : now - Number(count) * units[(unit ?? 'd') as keyof typeof units]; // what the pattern allows
  if (Number.isFinite(time)) return new Date(time);
  throw new HoldfastError(
    'REQUEST_INVALID',
    `'${text}' is no time: write 90m, 36h, 7d, or a date as 2026-11-22`,
  );
};
