import t from 'tap';
import { withoutOldSuperseded } from './revocations.js';

t.test('of what renewals left behind a plan names the newest, and everything else', async (t) => {
  const rows = [
    { reason: 'superseded', revoked_at: 3 },
    { reason: 'key_compromise', revoked_at: 1 },
    { reason: 'superseded', revoked_at: 2 },
    { reason: 'superseded', revoked_at: 4 },
  ];
  t.same(
    withoutOldSuperseded(rows, 2).map(({ revoked_at: at }) => at),
    [3, 1, 4],
  );
  t.equal(withoutOldSuperseded(rows, 3), rows);
});
