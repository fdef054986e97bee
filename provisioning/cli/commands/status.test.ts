import t from 'tap';
import { windowsOf } from './status.js';

const window = {
  name: 'nights',
  for: ['download', 'install'],
  open: false,
  opens_at: Date.UTC(2026, 0, 10, 21),
  closes_at: Date.UTC(2026, 0, 11, 5),
};
const shown = (changes: Partial<typeof window> | object, time_unknown = false) =>
  windowsOf({
    windows: { time_zone: 'Europe/Berlin', time_unknown, times: [{ ...window, ...changes }] },
  });

t.test('shows of each window when it opens, or until when it is open', async (t) => {
  t.same(shown({}), [
    ['window nights', 'opens at Sat 2026-01-10 22:00 (Europe/Berlin) (download, install)'],
  ]);
  t.match(shown({ open: true }), [[/./, /^open until Sun 2026-01-11 06:00/]]);
  t.match(shown({ opens_at: null, closes_at: null }), [[/./, /^never opens/]]);
  t.match(shown({ opens_at: null }, true), [[/./, /^counts as closed: the time is not known/]]);
  t.same(windowsOf({ windows: undefined }), []);
});
