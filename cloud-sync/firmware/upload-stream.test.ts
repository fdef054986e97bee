import t from 'tap';
import { chunk, manifestOf } from '../testing/upload-image.js';
import { readUpload } from './upload-stream.js';

t.test('gives up an upload of which nothing comes, or whose caller is gone', async (t) => {
  const stuck = async function* () {
    yield { part: manifestOf(Buffer.from('abc')) };
    yield { part: chunk(Buffer.from('a')) };
    await new Promise(() => undefined);
  };
  const { signal } = new AbortController();
  const idle = await readUpload(stuck(), { signal, idleTimeoutMs: 20 });
  const chunks = idle.chunks[Symbol.asyncIterator]();
  t.same((await chunks.next()).value, Buffer.from('a'));
  await t.rejects(chunks.next(), { code: 'DEADLINE_EXCEEDED' });

  const gone = new AbortController();
  const left = await readUpload(stuck(), { signal: gone.signal });
  const others = left.chunks[Symbol.asyncIterator]();
  await others.next();
  const waiting = others.next();
  gone.abort(new Error('gone'));
  await t.rejects(waiting, { message: 'gone' });
});

t.test('reads no faster than the chunks are taken', async (t) => {
  let read = 0;
  const requests = async function* () {
    yield { part: manifestOf(Buffer.from('abc')) };
    for (const letter of 'abc') {
      read += 1;
      yield { part: chunk(Buffer.from(letter)) };
    }
  };
  const { chunks } = await readUpload(requests(), { signal: new AbortController().signal });
  t.equal(read, 0);
  const iterator = chunks[Symbol.asyncIterator]();
  await iterator.next();
  t.equal(read, 1);
  await iterator.next();
  t.equal(read, 2);
});
