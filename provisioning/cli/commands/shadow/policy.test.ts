import { ConflictWinner } from '@holdfast/protos/gen/holdfast/v1/shadows';
import t from 'tap';
import { parseRule } from './policy.js';

t.test('reads rules as people type them', async (t) => {
  t.same(parseRule('desired.*.limit=cloud'), {
    ...{ shadow: '', path: 'desired.*.limit', winner: ConflictWinner.CONFLICT_WINNER_CLOUD },
  });
  t.same(parseRule('-:desired.mode=site'), {
    ...{ shadow: '-', path: 'desired.mode', winner: ConflictWinner.CONFLICT_WINNER_SITE },
  });
  for (const wrong of ['desired.mode', 'desired.mode=me', '=cloud', 'a=b=cloud', 'x=toString']) {
    t.throws(() => parseRule(wrong), { code: 'REQUEST_INVALID' }, wrong);
  }
});
