import t from 'tap';
import { isOpenAt, isTimeZone, nextOpening, whyNoStart } from './opening-times.js';

const berlin = 'Europe/Berlin';
const at = (text: string): number => Date.parse(text);
const shown = (
  windows: readonly { start: string; minutes: number }[],
  now: string,
  zone = berlin,
): string[] => {
  const opening = nextOpening(windows, at(now), zone);
  if (opening === undefined) return [];
  return [opening.opensAt, opening.closesAt].map((time) =>
    new Date(time).toISOString().slice(0, 16),
  );
};

t.test('says what is open, and else what opens next, by the clocks of the place', async (t) => {
  const nights = [{ start: '0 22 * * *', minutes: 480 }];
  t.same(shown(nights, '2026-01-10T12:00Z'), ['2026-01-10T21:00', '2026-01-11T05:00']);
  t.same(shown(nights, '2026-01-10T21:00Z'), ['2026-01-10T21:00', '2026-01-11T05:00'], 'opens');
  t.same(shown(nights, '2026-01-11T04:59Z'), ['2026-01-10T21:00', '2026-01-11T05:00'], 'is open');
  t.same(shown(nights, '2026-01-11T05:00Z'), ['2026-01-11T21:00', '2026-01-12T05:00'], 'closed');
  t.same(shown(nights, '2026-07-10T12:00Z'), ['2026-07-10T20:00', '2026-07-11T04:00'], 'summer');
  t.same(shown([], '2026-01-10T12:00Z'), []);
});

t.test('of several, the one that is open longest or opens first', async (t) => {
  const short = { start: '0 2 * * *', minutes: 60 };
  const long = { start: '30 1 * * sun', minutes: 300 };
  const now = at('2026-01-11T01:15Z');
  t.equal(nextOpening([short, long], now, berlin)?.window, long);
  t.equal(nextOpening([long, short], now, berlin)?.window, long);
  t.equal(nextOpening([long, short], at('2026-01-12T00:00Z'), berlin)?.window, short);
});

t.test('a window that is longer than a day, and one on the first Sunday', async (t) => {
  const weekend = [{ start: '0 18 * * fri', minutes: 60 * 60 }];
  t.same(shown(weekend, '2026-01-12T04:00Z'), ['2026-01-09T17:00', '2026-01-12T05:00']);
  const firstSunday = [{ start: '0 2 * * 0#1', minutes: 60 }];
  t.same(shown(firstSunday, '2026-01-12T04:00Z'), ['2026-02-01T01:00', '2026-02-01T02:00']);
  const leap = [{ start: '0 2 29 2 *', minutes: 60 }];
  t.same(shown(leap, '2096-03-01T00:00Z', 'UTC'), ['2104-02-29T02:00', '2104-02-29T03:00']);
});

t.test('a start in the hour that is left out is at the moment of the step', async (t) => {
  // In Berlin 2026-03-29 02:00 is 03:00.
  const windows = [{ start: '30 2 * * *', minutes: 60 }];
  t.same(shown(windows, '2026-03-28T12:00Z'), ['2026-03-29T01:00', '2026-03-29T02:00']);
  t.same(shown(windows, '2026-03-29T02:00Z'), ['2026-03-30T00:30', '2026-03-30T01:30']);
  const across = [{ start: '0 1 * * *', minutes: 180 }];
  t.same(shown(across, '2026-03-28T12:00Z'), ['2026-03-29T00:00', '2026-03-29T03:00'], '3 hours');
});

t.test('a start that comes twice counts the first time, and lasts as long as ever', async (t) => {
  // In Berlin 2026-10-25 03:00 is 02:00 again.
  const windows = [{ start: '30 2 * * *', minutes: 60 }];
  t.same(shown(windows, '2026-10-24T12:00Z'), ['2026-10-25T00:30', '2026-10-25T01:30']);
  t.same(shown(windows, '2026-10-25T01:30Z'), ['2026-10-26T01:30', '2026-10-26T02:30']);
  const [opening] = [nextOpening(windows, at('2026-10-25T01:00Z'), berlin)];
  t.ok(opening && isOpenAt(opening, at('2026-10-25T01:00Z')));
});

t.test('holds in zones of half hours, and west of the date line', async (t) => {
  const windows = [{ start: '15 0 * * *', minutes: 30 }];
  t.same(shown(windows, '2026-01-10T12:00Z', 'Asia/Kolkata'), [
    '2026-01-10T18:45',
    '2026-01-10T19:15',
  ]);
  t.same(shown(windows, '2026-01-10T10:40Z', 'Pacific/Kiritimati'), [
    '2026-01-10T10:15',
    '2026-01-10T10:45',
  ]);
  // The half hour at Lord Howe: 2026-10-04 02:00 is 02:30.
  t.same(
    shown([{ start: '10 2 * * *', minutes: 30 }], '2026-10-03T12:00Z', 'Australia/Lord_Howe'),
    ['2026-10-03T15:30', '2026-10-03T16:00'],
  );
});

t.test('is open and closed as one who looks at the wall would say', async (t) => {
  const windows = [{ start: '45 23,1 * * *', minutes: 90 }];
  const format = new Intl.DateTimeFormat('en-u-hc-h23', {
    timeZone: berlin,
    hour: 'numeric',
    minute: 'numeric',
  });
  // Two weeks without a step: the wall says it all.
  for (let now = at('2026-06-01T00:00Z'); now < at('2026-06-15T00:00Z'); now += 37 * 60_000) {
    const [hour = 0, minute = 0] = format.format(now).split(':').map(Number);
    const wall = hour * 60 + minute;
    const isOpen = wall >= 23 * 60 + 45 || wall < 75 || (wall >= 105 && wall < 195);
    const opening = nextOpening(windows, now, berlin);
    t.equal(opening !== undefined && isOpenAt(opening, now), isOpen, new Date(now).toISOString());
  }
});

t.test('refuses what is no start and no zone', async (t) => {
  t.equal(whyNoStart('0 2 * * sun'), undefined);
  t.match(whyNoStart('0 25 * * *'), /words of cron.*25/);
  t.match(whyNoStart('0 2 * *'), /words of cron/);
  t.match(whyNoStart('*/10 0 2 * * *'), /seconds/);
  t.match(whyNoStart('* * * * *'), /24 times a day/);
  t.match(whyNoStart('0 2 30 2 *'), /impossible/);
  t.ok(isTimeZone(berlin));
  t.ok(isTimeZone('UTC'));
  for (const zone of ['Europe/Berlni', '', '+02:00']) t.notOk(isTimeZone(zone), zone);
});
