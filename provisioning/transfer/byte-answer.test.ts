import t from 'tap';
import { answerBytes, type ByteRequest } from './byte-answer.js';

const file = { sizeBytes: 100, tag: 'abc', boundary: 'b' };
const ask = (headers: ByteRequest['headers'], method = 'GET') =>
  answerBytes({ method, headers }, file);

t.test('the whole, one range, none', async (t) => {
  t.same(ask({}), {
    status: 200,
    headers: {
      'accept-ranges': 'bytes',
      etag: '"abc"',
      'cache-control': 'private, max-age=31536000, immutable',
      'content-type': 'application/octet-stream',
      'content-length': 100,
    },
    pieces: [{ start: 0, end: 99 }],
  });
  const part = ask({ range: 'bytes=10-19' });
  t.match(part, { status: 206, pieces: [{ start: 10, end: 19 }] });
  t.match(part.headers, { 'content-length': 10, 'content-range': 'bytes 10-19/100' });
  const none = ask({ range: 'bytes=100-' });
  t.match(none, { status: 416, headers: { 'content-range': 'bytes */100', 'content-length': 0 } });
  t.same(none.pieces, []);
});

t.test('several ranges are told apart by a boundary in lower case', async (t) => {
  const { status, headers, pieces } = ask({ range: 'bytes=0-1,-2' });
  t.equal(status, 206);
  t.equal(headers['content-type'], 'multipart/byteranges; boundary=b');
  t.notOk('content-range' in headers, 'it stands in each part');
  const text = pieces.map((piece) =>
    'start' in piece ? '*'.repeat(piece.end - piece.start + 1) : Buffer.from(piece).toString(),
  );
  const head = (range: string) =>
    `\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${range}/100\r\n\r\n`;
  t.equal(text.join(''), `${head('0-1')}**${head('98-99')}**\r\n--b--\r\n`);
  t.equal(headers['content-length'], text.join('').length);
  const { boundary: _, ...drawn } = file;
  const type = answerBytes({ headers: { range: 'bytes=0-1,-2' } }, drawn).headers['content-type'];
  t.match(type, /^multipart\/byteranges; boundary=[0-9a-f]{32}$/);
  t.equal(
    ask({ range: 'bytes=0-1,100-' }).headers['content-range'],
    'bytes 0-1/100',
    'one that is left is no multipart answer',
  );
});

t.test('HEAD is told what GET would get without ranges', async (t) => {
  for (const headers of [{}, { range: 'bytes=0-1' }, { range: 'bytes=100-' }]) {
    const { status, headers: told, pieces } = ask(headers, 'HEAD');
    t.match({ status, told }, { status: 200, told: { 'content-length': 100, etag: '"abc"' } });
    t.same(pieces, []);
  }
});

t.test('conditions are looked at before ranges', async (t) => {
  const range = 'bytes=0-1';
  const rows: [ByteRequest['headers'], number][] = [
    [{ 'if-none-match': '"abc"', range }, 304],
    [{ 'if-none-match': 'W/"abc"' }, 304],
    [{ 'if-none-match': '"x", "abc"' }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-none-match': '"x"', range }, 206],
    [{ 'if-none-match': 'abc' }, 200],
    [{ 'if-match': '"abc"', range }, 206],
    [{ 'if-match': '*' }, 200],
    [{ 'if-match': '"x"', range }, 412],
    [{ 'if-match': 'W/"abc"' }, 412],
    [{ 'if-range': '"abc"', range }, 206],
    [{ 'if-range': '"abc"', range: 'bytes=100-' }, 416],
    [{ 'if-range': '"x"', range }, 200],
    [{ 'if-range': '"x"', range: 'bytes=100-' }, 200],
    [{ 'if-range': 'W/"abc"', range }, 200],
    [{ 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT', range }, 200],
    [{ 'if-range': '"abc"' }, 200],
  ];
  for (const [headers, status] of rows) {
    t.equal(ask(headers).status, status, JSON.stringify(headers));
  }
});
