/** How changes of shadows are shown to people: one line a leaf. */

import type { LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { Terminal } from '../../terminal.js';
import { pathText } from './shadow-options.js';
import type { ChangeRow } from './shadow-rows.js';

const longestValue = 60;

/** JSON text as far as a line has room for it; nothing is a deletion. */
export const shortValue = (json: string): string => {
  if (json === '') return 'deleted';
  return json.length <= longestValue ? json : `${json.slice(0, longestValue - 1)}…`;
};

/** A time of day in this computer's zone; `≥` where the clock that gave it was not to be believed. */
export const whenText = (time: Date | undefined, trusted: boolean): string => {
  if (time === undefined || (!trusted && time.getTime() === 0)) return '';
  return `${trusted ? '' : '≥ '}${timeText(time)}`;
};

/** The same as short as it can be, seen from now: the day is said where it is another. */
export const shortWhen = (time: Date | undefined, trusted: boolean, now: number): string => {
  const [day, ofDay] = whenText(time, trusted).split(/ (?=\d\d:)/);
  if (ofDay === undefined) return '';
  const [today] = timeText(new Date(now)).split(' ');
  return day?.endsWith(today ?? '') ? `${trusted ? '' : '≥ '}${ofDay}` : `${day} ${ofDay}`;
};

export const timeText = (time: Date): string => {
  const two = (part: number): string => String(part).padStart(2, '0');
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join('-');
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
};

/** A change as lines: when, which version, who; below it what became of each leaf. */
export const showChange = (terminal: Terminal, change: ChangeRow): void => {
  const head = [
    terminal.paint('dim', whenText(change.time, change.trusted) || 'at no known time'),
    terminal.paint('bold', `version ${change.version}`),
    change.deleted ? `deleted by ${change.writer}` : `by ${change.writer}`,
    ...writtenText(terminal, change),
  ];
  terminal.line(head.join('  '));
  for (const leaf of change.changes) showLeaf(terminal, leaf);
};

export const showLeaf = (terminal: Terminal, { path, before, after }: LeafChange): void => {
  const place = pathText(path);
  const [was, is] = [before, after].map((value) =>
    value === undefined ? undefined : shortValue(JSON.stringify(value)),
  );
  if (was === undefined) terminal.line(terminal.paint('green', `  + ${place} = ${is}`));
  else if (is === undefined) terminal.line(terminal.paint('red', `  - ${place} (was ${was})`));
  else
    terminal.line(
      `  ${terminal.paint('yellow', '~')} ${place}: ${was} → ${terminal.paint('yellow', is)}`,
    );
};

/** Shown where it was written noticeably before it came here. */
const writtenText = (terminal: Terminal, { write_time, time }: ChangeRow): string[] => {
  if (write_time === undefined || Math.abs(time.getTime() - write_time.getTime()) < 60_000)
    return [];
  return [terminal.paint('dim', `written ${timeText(write_time)}`)];
};
