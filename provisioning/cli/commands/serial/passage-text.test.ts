import t from 'tap';
import { PassageText } from './passage-text.js';

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const text = (words: string) => Buffer.from(words);

t.test('lines of text are put together, and shown with when they began', (t) => {
  const passages = new PassageText({ view: 'either' });
  t.same(passages.add('in', text('{"t":"he'), at), []);
  t.same(passages.add('in', text('llo"}\r\nnext'), at + 5), ['03:04:05.678 ← {"t":"hello"}']);
  t.same(
    passages.add('out', text('who\n'), at + 6),
    ['03:04:05.683 ← next', '03:04:05.684 → who'],
    'what one began is shown before the other speaks',
  );
  t.same(passages.add('in', text('ok> '), at), []);
  t.same(passages.rest(), ['03:04:05.678 ← ok> ']);
  t.same(passages.rest(), []);
  t.end();
});

t.test('what a terminal would obey is written out', (t) => {
  const passages = new PassageText({ view: 'text' });
  t.same(passages.add('in', text('\x1b[2J\tgr\u00fc\u00df\u202e\x07\n'), at), [
    '03:04:05.678 ← \\x1b[2J  grüß\\x202e\\x07',
  ]);
  t.equal(passages.add('in', text('x'.repeat(2_500)), at).length, 2, 'a line without an end too');
  t.end();
});

t.test('bytes are shown as bytes, asked for or not', (t) => {
  const bytes = Buffer.from([0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87]);
  const row = '03:04:05.678 → 11 03 00 6b 00 03 76 87                          ···k··v·';
  t.same(new PassageText({ view: 'either' }).add('out', bytes, at), [row]);
  t.same(new PassageText({ view: 'hex' }).add('in', text('0123456789abcdefg'), at), [
    '03:04:05.678 ← 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef',
    `${' '.repeat(14)} 67                                               g`,
  ]);
  const umlaut = text('grüß dich');
  const passages = new PassageText({ view: 'either' });
  passages.add('in', umlaut.subarray(0, 3), at);
  t.same(passages.add('in', Buffer.concat([umlaut.subarray(3), text('\n')]), at), [
    '03:04:05.678 ← grüß dich',
  ]);
  t.end();
});
