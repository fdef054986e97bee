import t from 'tap';
import { sectionsDiffer } from './shadow-difference.js';
import { parsePath, parseSince, pathText } from './shadow-options.js';

t.test('says what is desired and not so, with what is reported there', async (t) => {
  const rows = sectionsDiffer({
    version: 3,
    reported: { mode: 'slow', limits: { high: 1 }, list: [1] },
    delta: { mode: 'fast', limits: { low: 2 }, list: [1, 2], __proto__: 1 },
  });
  t.same(rows, [
    { path: ['mode'], before: 'slow', after: 'fast' },
    { path: ['limits', 'low'], after: 2 },
    { path: ['list'], before: [1], after: [1, 2] },
  ]);
  t.same(sectionsDiffer({ version: 3, reported: { a: 1 } }), []);
});

t.test('takes paths as people write them, and writes them so', async (t) => {
  t.same(parsePath('desired.mode'), ['desired', 'mode']);
  t.same(parsePath('limits.high'), ['desired', 'limits', 'high']);
  t.same(parsePath('reported'), ['reported']);
  t.same(parsePath('["desired","a.b"]'), ['desired', 'a.b']);
  t.equal(pathText(['desired', 'a.b']), '["desired","a.b"]');
  for (const wrong of ['', 'a..b', '[', '[1]', '[]']) {
    t.throws(() => parsePath(wrong), { code: 'REQUEST_INVALID' }, wrong);
  }
});

t.test('takes a time as a date or as how long ago', async (t) => {
  const now = Date.UTC(2026, 10, 22, 8);
  t.equal(parseSince('90m', now).getTime(), now - 5_400_000);
  t.equal(parseSince('2h', now).getTime(), now - 7_200_000);
  t.equal(parseSince('7d', now).getTime(), now - 7 * 86_400_000);
  t.equal(parseSince('2026-11-20T00:00Z', now).getTime(), Date.UTC(2026, 10, 20));
  for (const wrong of ['soon', '7w', '']) {
    t.throws(() => parseSince(wrong, now), { code: 'REQUEST_INVALID' }, wrong);
  }
});
