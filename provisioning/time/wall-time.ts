/** A moment as a person reads it off the wall. */

/** `Sun 2026-11-22 22:00`, as the clocks of a zone show it. */
export const wallTime = (at: number, timeZone: string): string => {
  const parts = new Intl.DateTimeFormat('en-GB-u-hc-h23', {
    timeZone,
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  }).formatToParts(at);
  const part = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find((one) => one.type === type)?.value ?? '';
  return `${part('weekday')} ${part('year')}-${part('month')}-${part('day')} ${part('hour')}:${part('minute')}`;
};
