/**
 * Times of the week at which something may be done, in the words of cron and in the time of a place: pure functions, for the site that
 * keeps to them and for whoever says when the next one comes.
 *
 * Where clocks are put forward, a start that falls into what is left out is at the moment of the step. Where they are put back, a start
 * that comes twice counts the first time. How long a window is open is time that passes, whatever the clocks on the wall say.
 */
import { createTask, parse, validateDetailed } from 'node-cron';

export interface OpeningTimes {
  /** In cron's words, by the wall clock of the place: `0 22 * * mon-fri`. */
  readonly start: string;
  /** How long it is open, minutes. */
  readonly minutes: number;
}

/** One time that a window is open; epoch ms. */
export interface Opening<W> {
  readonly window: W;
  readonly opensAt: number;
  readonly closesAt: number;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
/** A 29th of February comes within it, also around the year 2100. */
const horizonDays = 9 * 366;
export const longestMinutes = 7 * 24 * 60;
const mostStartsADay = 24;

/** What is wrong with a start; undefined where nothing is. */
export const whyNoStart = (start: string): string | undefined => {
  const { valid, errors, fields } = validateDetailed(start);
  if (!valid || fields === undefined) {
    const [first] = errors;
    return `is no time in the words of cron (minute hour day month weekday): ${first?.message ?? start}`;
  }
  if (fields.second.length !== 1 || fields.second[0] !== 0) return 'must not name seconds';
  return fields.hour.length * fields.minute.length > mostStartsADay
    ? `must not start more than ${mostStartsADay} times a day`
    : undefined;
};

/** Whether the name means a time zone here: `Europe/Berlin`, `UTC`. */
export const isTimeZone = (zone: string): boolean => {
  try {
    // An offset is none: it knows no summer time.
    return !/^[+-]/.test(zone) && new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined;
  } catch {
    return false;
  }
};

export const machineZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

export const isOpenAt = ({ opensAt, closesAt }: Opening<unknown>, now: number): boolean =>
  opensAt <= now && now < closesAt;

/**
 * The opening that is under way, of several the one that closes last; where there is none, the next to come. undefined where there are no
 * windows, or none that ever opens. `now` is epoch ms.
 */
export const nextOpening = <W extends OpeningTimes>(
  windows: readonly W[],
  now: number,
  zone: string,
): Opening<W> | undefined => {
  let best: Opening<W> | undefined;
  for (const window of windows) {
    const opening = openingOf(window, now, zone);
    if (opening !== undefined && (best === undefined || isBefore(opening, best, now))) {
      best = opening;
    }
  }
  return best;
};

const isBefore = (a: Opening<unknown>, b: Opening<unknown>, now: number): boolean =>
  isOpenAt(a, now) && isOpenAt(b, now) ? a.closesAt > b.closesAt : a.opensAt < b.opensAt;

const openingOf = <W extends OpeningTimes>(
  window: W,
  now: number,
  zone: string,
): Opening<W> | undefined => {
  const lengthMs = window.minutes * minuteMs;
  const offsetAt = zoneOffsets(zone);
  // What began before today may be open still; a day more for those whose first half hour was yesterday's.
  const first = Math.floor((now + offsetAt(now) - lengthMs) / dayMs) - 1;
  let underWay: Opening<W> | undefined;
  for (const wall of startsFrom(window.start, first)) {
    const opensAt = momentOf(wall, offsetAt);
    const opening = { window, opensAt, closesAt: opensAt + lengthMs };
    if (isOpenAt(opening, now)) underWay = opening;
    if (opensAt > now) return underWay ?? opening;
  }
  return underWay;
};

/** Every start as a wall clock shows it, in order, from a day on: as if that clock showed UTC, epoch ms; days likewise. */
function* startsFrom(start: string, firstDay: number): Generator<number> {
  const { hour, minute, month } = parse(start);
  // Its own matching knows the first Sunday and the last day; as a task it never runs.
  const task = createTask(start, () => undefined, { timezone: 'UTC' });
  try {
    const times = hour
      .flatMap((hours) => minute.map((minutes) => hours * hourMs + minutes * minuteMs))
      .sort((a, b) => a - b);
    const [earliest = 0] = times;
    for (let day = firstDay; day < firstDay + horizonDays; day += 1) {
      const midnight = day * dayMs;
      if (!month.includes(new Date(midnight).getUTCMonth() + 1)) continue;
      if (!task.match(new Date(midnight + earliest))) continue;
      for (const time of times) yield midnight + time;
    }
  } finally {
    task.destroy();
  }
}

/** When a wall clock shows a time. */
const momentOf = (wall: number, offsetAt: (at: number) => number): number => {
  const [before, after] = [offsetAt(wall - dayMs), offsetAt(wall + dayMs)];
  // The larger offset is the earlier moment.
  for (const offset of [Math.max(before, after), Math.min(before, after)]) {
    if (offsetAt(wall - offset) === offset) return wall - offset;
  }
  let [still, already] = [wall - dayMs, wall + dayMs];
  while (already - still > 1) {
    const middle = Math.floor((still + already) / 2);
    if (offsetAt(middle) === before) still = middle;
    else already = middle;
  }
  return already;
};

/** How far the wall clocks of a zone are ahead of UTC, ms, by the moment. */
const zoneOffsets = (zone: string): ((at: number) => number) => {
  const format = new Intl.DateTimeFormat('en-u-hc-h23', {
    timeZone: zone,
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return (at) => {
    const seconds = Math.floor(at / 1_000) * 1_000;
    const part: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of format.formatToParts(seconds)) part[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second) - seconds;
  };
};
