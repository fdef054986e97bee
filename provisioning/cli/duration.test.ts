import t from 'tap';
import { formatDuration, parseBytes, parseDuration, parseTime } from './duration.js';

t.test('reads lengths of time and writes them the same', async (t) => {
  const read = parseDuration('it');
  for (const [text, seconds] of [
    ['90s', 90],
    ['30m', 1_800],
    ['1h', 3_600],
    ['1.5d', 129_600],
    ['2w', 1_209_600],
  ] as const) {
    t.equal(read(text), seconds, text);
    t.equal(read(formatDuration(seconds)), seconds);
  }
  for (const wrong of ['', '5', 'h', '-1h', '1 year']) {
    t.throws(() => read(wrong), { code: 'REQUEST_INVALID', message: /1h/ }, wrong);
  }
});

t.test('reads amounts of data and times', async (t) => {
  t.equal(parseBytes('it')('500kB'), 500_000);
  t.equal(parseBytes('it')('1.5M'), 1_500_000);
  t.equal(parseBytes('it')('12'), 12);
  t.throws(() => parseBytes('it')('a lot'), { code: 'REQUEST_INVALID' });
  t.equal(parseTime('+2h', 1_000).getTime(), 7_201_000);
  t.equal(parseTime('2026-11-23T02:00:00Z', 0).toISOString(), '2026-11-23T02:00:00.000Z');
  for (const wrong of ['tomorrow', '5', '2026-13-01T00:00']) {
    t.throws(() => parseTime(wrong, 0), { code: 'REQUEST_INVALID' }, wrong);
  }
});
