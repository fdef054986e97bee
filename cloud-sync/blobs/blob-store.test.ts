import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { BlobStore } from './blob-store.js';

const image = Buffer.from('an image of some firmware');
const sha256 = createHash('sha256').update(image).digest('hex');
const expected = { sha256, sizeBytes: image.length };

const openStore = async (t: Test): Promise<{ store: BlobStore; directory: string }> => {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return { store: await BlobStore.open(directory), directory };
};

async function* inPieces(bytes: Buffer, failAfter = Number.POSITIVE_INFINITY) {
  for (let at = 0; at < bytes.length; at += 7) {
    if (at > failAfter) throw new Error('the stream broke');
    yield bytes.subarray(at, at + 7);
  }
}

t.test('keeps an image under its digest and gives back all of it or a range', async (t) => {
  const { store, directory } = await openStore(t);
  await store.put(inPieces(image), expected);
  t.equal(await store.sizeOf(sha256), image.length);
  t.equal(await text(store.read(sha256)), image.toString());
  t.equal(await text(store.read(sha256, { start: 3, end: 7 })), 'image');
  const again = await BlobStore.open(directory);
  t.equal(await again.sizeOf(sha256), image.length);
  await again.delete(sha256);
  t.equal(await again.sizeOf(sha256), undefined);
});

t.test('leaves nothing of an image that is cut, too long, too short or another one', async (t) => {
  const { store, directory } = await openStore(t);
  const cases = [
    { chunks: inPieces(image, 10), expected, error: /stream broke/ },
    { chunks: inPieces(image), expected: { ...expected, sizeBytes: 5 }, error: /over \d+ bytes/ },
    { chunks: inPieces(image), expected: { ...expected, sizeBytes: 99 }, error: /instead of 99/ },
    {
      chunks: inPieces(image),
      expected: { ...expected, sha256: '0'.repeat(64) },
      error: { code: 'UPDATE_DIGEST_MISMATCH' },
    },
  ];
  for (const { chunks, expected, error } of cases)
    await t.rejects(store.put(chunks, expected), error);
  t.same(await readdir(directory), []);
});

t.test('removes at the start what a crash left half-written', async (t) => {
  const { store, directory } = await openStore(t);
  await store.put(inPieces(image), expected);
  await writeFile(join(directory, `${sha256}.1.partial`), 'half');
  await BlobStore.open(directory);
  t.same(await readdir(directory), [sha256]);
});

t.test('takes nothing but a digest for a name', async (t) => {
  const { store } = await openStore(t);
  t.throws(() => store.read('../../etc/passwd'), { code: 'REQUEST_INVALID' });
  await t.rejects(store.delete('..'), { code: 'REQUEST_INVALID' });
});
