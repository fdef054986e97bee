import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import t from 'tap';
import { BlobStore } from '../blobs/blob-store.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { FirmwareLibrary, type FirmwareManifest } from './firmware-library.js';

const manifest = (image: Uint8Array, version = '1'): FirmwareManifest => ({
  model: 'm',
  version,
  fileName: 'image.bin',
  sha256: createHash('sha256').update(image).digest('hex'),
  sizeBytes: image.length,
});
/** What comes with an image of that version. */
const context = (image: Uint8Array, version = '1', releases = new TestReleases()) => {
  releases.add({ model: 'm', version, image });
  return { actor: 'cloud:admin', metadata: releases.metadata() };
};
const whole = async function* (image: Uint8Array) {
  yield image;
};

t.test('sweeps images that no row names', async (t) => {
  const { engine, plans, now } = await storeUnderTest(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const blobs = await BlobStore.open(folder);
  const library = new FirmwareLibrary({ engine, blobs, plans, now }, { maxImageBytes: 1_000 });
  const kept = randomBytes(10);
  const deleted = randomBytes(10);
  const cut = randomBytes(10);
  const releases = new TestReleases();
  await library.upload(manifest(kept), whole(kept), context(kept, '1', releases));
  await library.upload(manifest(deleted, '2'), whole(deleted), context(deleted, '2', releases));
  await library.delete('m@2', 'cloud:admin');
  // The program ended between image and row.
  await blobs.put(whole(cut), manifest(cut));
  await library.sweep();
  t.same(await blobs.list(), [manifest(kept).sha256]);
});

t.test('takes so many images in at once, and none above the limit', async (t) => {
  const { engine, plans, now } = await storeUnderTest(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const blobs = await BlobStore.open(folder);
  const library = new FirmwareLibrary(
    { engine, blobs, plans, now },
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
  const releases = new TestReleases();
  const first = library.upload(manifest(image), slow(), context(image, '1', releases));
  await arrived;
  const second = context(image, '2', releases);
  await t.rejects(library.upload(manifest(image, '2'), whole(image), second), {
    code: 'REQUEST_THROTTLED',
  });
  finish();
  await first;
  await library.upload(manifest(image, '2'), whole(image), second);
  const large = randomBytes(1_001);
  const third = context(large, '3', releases);
  await t.rejects(library.upload(manifest(large, '3'), whole(large), third), {
    code: 'REQUEST_TOO_LARGE',
  });
});
