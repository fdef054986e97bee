import { createHash } from 'node:crypto';
import { appendFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ManualSchedule } from '@holdfast/provisioning/time/manual-schedule';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { uploadImage } from '../testing/upload-image.js';
import { BlobCheck } from './blob-check.js';
import { BlobStore } from './blob-store.js';

const digestOf = (image: Buffer) => createHash('sha256').update(image).digest('hex');

t.test('puts aside what is damaged, slowly, and leaves the rest', async (t) => {
  const directory = t.testdir();
  const blobs = await BlobStore.open(directory);
  const images = [Buffer.alloc(100_000, 1), Buffer.alloc(200_000, 2), Buffer.alloc(10, 3)];
  async function* whole(image: Buffer) {
    yield image;
  }
  for (const image of images) {
    await blobs.put(whole(image), { sha256: digestOf(image), sizeBytes: image.length });
  }
  const [, second = Buffer.alloc(0)] = images;
  await appendFile(join(directory, digestOf(second)), 'x');
  const schedule = new ManualSchedule();
  const told: object[] = [];
  let waitedMs = 0;
  const check = new BlobCheck(
    {
      blobs,
      schedule: schedule.schedule,
      log: { info: () => undefined, error: (data) => void told.push(data) },
      wait: async (ms) => {
        waitedMs += ms;
      },
    },
    { bytesPerSecond: 100_000 },
  );
  check.open();
  t.teardown(() => check.close());
  await schedule.run();
  t.same(told, [{ sha256: digestOf(second) }]);
  t.ok(Math.abs(waitedMs - 3_000) < 10, `at the pace that was set: ${waitedMs} ms`);
  const left = images.filter((image) => image !== second).map(digestOf);
  t.same((await blobs.list()).sort(), left.sort());
  t.ok((await readdir(directory)).includes(`${digestOf(second)}.damaged`), 'it is kept beside');
  await blobs.put(whole(second), { sha256: digestOf(second), sizeBytes: second.length });
  await schedule.run();
  t.equal(told.length, 1, 'and healed by an upload');
  await blobs.delete(digestOf(second));
  t.notOk((await readdir(directory)).some((name) => name.startsWith(digestOf(second))));
});

t.test('leaves one alone that was uploaded again while it was read', async (t) => {
  const directory = t.testdir();
  const blobs = await BlobStore.open(directory);
  const image = Buffer.alloc(1_000, 1);
  const expected = { sha256: digestOf(image), sizeBytes: image.length };
  const put = () =>
    blobs.put(
      (async function* () {
        yield image;
      })(),
      expected,
    );
  await put();
  await appendFile(join(directory, expected.sha256), 'x');
  const check = new BlobCheck({
    blobs,
    schedule: new ManualSchedule().schedule,
    log: { info: () => undefined, error: () => undefined },
    wait: put,
  });
  await check.run();
  t.same(await blobs.list(), [expected.sha256]);
});

t.test('the firmware says that its image is gone, until it is uploaded again', async (t) => {
  const cloud = await cloudUnderTest(t);
  const image = Buffer.from('firmware');
  const { name, sha256 } = await uploadImage(cloud, image);
  const problem = async () => {
    const { firmware, call } = cloud;
    return (await call(firmware, firmware.getFirmware, { name })).problem;
  };
  t.equal(await problem(), '');
  await rm(join(cloud.dataDir, 'firmware', sha256));
  t.match(await problem(), /upload it again/);
  await uploadImage(cloud, image);
  t.equal(await problem(), '');
});
