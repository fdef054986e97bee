import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { BlobStore } from '../blobs/blob-store.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { FirmwareLibrary, type FirmwareManifest } from './firmware-library.js';

const manifest = (image: Uint8Array, version = '1'): FirmwareManifest => ({
  model: 'm',
  version,
  fileName: '',
  sha256: createHash('sha256').update(image).digest('hex'),
  sizeBytes: image.length,
});
const whole = async function* (image: Uint8Array) {
  yield image;
};

t.test('sweeps images that no row names', async (t) => {
  const { engine, now } = await storeUnderTest(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const blobs = await BlobStore.open(folder);
  const library = new FirmwareLibrary({ engine, blobs, now }, { maxImageBytes: 1_000 });
  const kept = randomBytes(10);
  const deleted = randomBytes(10);
  const cut = randomBytes(10);
  await library.upload(manifest(kept), whole(kept));
  await library.upload(manifest(deleted, '2'), whole(deleted));
  await library.delete('m@2');
  // The program ended between image and row.
  await blobs.put(whole(cut), manifest(cut));
  await library.sweep();
  t.same(await blobs.list(), [manifest(kept).sha256]);
});

t.test('takes so many images in at once, and none above the limit', async (t) => {
  const { engine, now } = await storeUnderTest(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const blobs = await BlobStore.open(folder);
  const library = new FirmwareLibrary(
    { engine, blobs, now },
    { maxImageBytes: 1_000, maxUploads: 1 },
  );
  let arrive = (): void => undefined;
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const image = randomBytes(10);
  const slow = async function* () {
    arrive();
    await finished;
    yield image;
  };
  const first = library.upload(manifest(image), slow());
  await arrived;
  await t.rejects(library.upload(manifest(image, '2'), whole(image)), {
    code: 'REQUEST_THROTTLED',
  });
  finish();
  await first;
  await library.upload(manifest(image, '2'), whole(image));
  const large = randomBytes(1_001);
  await t.rejects(library.upload(manifest(large, '3'), whole(large)), {
    code: 'REQUEST_TOO_LARGE',
  });
});
