import t from 'tap';
import { tracedCalls } from './traced-calls.js';

t.test('a call that another came between is one call', async (t) => {
  const trace = [
    '10 writev(7<TCP:[1]>, [{"a", 26}], 1 <unfinished ...>',
    '11 fsync(3</site.db-wal> <unfinished ...>',
    '10 <... writev resumed>) = 26',
    '10 write(4<pipe:[2]>, "b", 1) = 1',
    '11 <... fsync resumed>) = 0',
  ].join('\n');
  t.same(tracedCalls(trace), [
    { text: '10 writev(7<TCP:[1]>, [{"a", 26}], 1 ) = 26', began: 0, ended: 2 },
    { text: '10 write(4<pipe:[2]>, "b", 1) = 1', began: 3, ended: 3 },
    { text: '11 fsync(3</site.db-wal> ) = 0', began: 1, ended: 4 },
  ]);
});
