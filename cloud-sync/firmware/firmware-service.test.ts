import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Campaign } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import {
  chunk,
  manifestOf,
  openUpload,
  signatureOf,
  uploadImage,
} from '../testing/upload-image.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const filesOf = (cloud: CloudUnderTest) => readdir(join(cloud.dataDir, 'firmware'));
const list = (cloud: CloudUnderTest, pageSize = 0, pageToken = '') =>
  cloud.call(cloud.firmware, cloud.firmware.listFirmware, { pageSize, pageToken });
const remove = (cloud: CloudUnderTest, name: string) =>
  cloud.call(cloud.firmware, cloud.firmware.deleteFirmware, { name });

t.test('takes an image in as it comes, and the same again', async (t) => {
  const cloud = await cloudUnderTest(t);
  const image = randomBytes(5 * 1024 * 1024 + 7);
  const { call, stored, send } = openUpload(cloud);
  send(...signatureOf(cloud, image), manifestOf(image));
  for (let at = 0; at < image.length; at += 1024 * 1024) {
    if (!call.write({ part: chunk(image.subarray(at, at + 1024 * 1024)) }))
      await once(call, 'drain');
  }
  call.end();
  const { sha256, name, sizeBytes } = await stored;
  t.equal(name, 'firmware/pi@2.0');
  t.equal(sizeBytes, BigInt(image.length));
  t.same(await filesOf(cloud), [sha256]);
  t.equal((await uploadImage(cloud, image)).sha256, sha256, 'the same image again');
  await t.rejects(uploadImage(cloud, Buffer.from('other')), { code: 'RESOURCE_EXISTS' });
  cloud.releases.add({ model: 'pi', version: '2.0', image });
  await uploadImage(cloud, Buffer.from('other'), { version: '3.0' });
  const first = await list(cloud, 1);
  t.match(first.firmware, [{ name: 'firmware/pi@2.0' }]);
  t.match((await list(cloud, 1, first.nextPageToken)).firmware, [{ name: 'firmware/pi@3.0' }]);
  const got = await cloud.call(cloud.firmware, cloud.firmware.getFirmware, { name });
  t.match(got, { model: 'pi', version: '2.0', fileName: 'image.bin' });
});

t.test('an upload that breaks leaves nothing', async (t) => {
  const cloud = await cloudUnderTest(t);
  const image = randomBytes(100_000);
  const broken = openUpload(cloud);
  broken.send(...signatureOf(cloud, image), manifestOf(image), chunk(image.subarray(0, 50_000)));
  // Until the first half is being written.
  while ((await filesOf(cloud)).length === 0) await new Promise(setImmediate);
  broken.call.cancel();
  await t.rejects(broken.stored);
  while ((await filesOf(cloud)).length > 0) await new Promise(setImmediate);
  t.same((await list(cloud)).firmware, []);

  for (const [parts, code] of [
    [[manifestOf(image), chunk(randomBytes(100_000))], 'UPDATE_DIGEST_MISMATCH'],
    [[manifestOf(image), chunk(image.subarray(1))], 'UPDATE_SIZE_MISMATCH'],
    [[manifestOf(image), chunk(image), chunk(image)], 'UPDATE_SIZE_MISMATCH'],
    [[manifestOf(image), manifestOf(image)], 'REQUEST_INVALID'],
    [[chunk(image)], 'REQUEST_INVALID'],
    [[], 'REQUEST_INVALID'],
    [[manifestOf(image, { model: '../x' }), chunk(image)], 'REQUEST_INVALID'],
    [[manifestOf(Buffer.alloc(0))], 'REQUEST_INVALID'],
    [
      [manifestOf(Buffer.alloc(2 ** 20 + 1)), chunk(Buffer.alloc(2 ** 20 + 1))],
      'REQUEST_TOO_LARGE',
    ],
  ] as const) {
    const { call, stored, send } = openUpload(cloud);
    const signed = code === 'REQUEST_TOO_LARGE' ? Buffer.alloc(2 ** 20 + 1) : image;
    send(...signatureOf(cloud, signed), ...parts);
    call.end();
    await t.rejects(stored, { code }, code);
  }
  t.same(await filesOf(cloud), []);
  t.same((await list(cloud)).firmware, []);
});

t.test('says of firmware what devices would say of it', async (t) => {
  let now = Date.now();
  const cloud = await cloudUnderTest(t, { now: () => now });
  const releases = new TestReleases({ expiresAt: now + 3_600_000 });
  const api = { ...cloud, releases };
  const { name } = await uploadImage(api, Buffer.from('image'));
  const problem = async () => (await list(cloud)).firmware.map((image) => image.problem);
  t.same(await problem(), ['']);
  now += 3_601_000;
  t.match(await problem(), [/^devices refuse it: FIRMWARE_METADATA_EXPIRED/]);
  const got = await cloud.call(cloud.firmware, cloud.firmware.getFirmware, { name });
  t.match(got, { signedBy: 'release-pi', installer: 'slots', problem: /EXPIRED/ });
});

t.test('keeps what a campaign needs until it is over', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { name } = await uploadImage(cloud, Buffer.from('image'));
  await cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
    campaignId: 'c1',
    campaign: Campaign.fromPartial({ firmware: name }),
  });
  await t.rejects(remove(cloud, name), { code: 'RESOURCE_IN_USE' });
  await cloud.call(cloud.campaigns, cloud.campaigns.cancelCampaign, {
    name: 'campaigns/c1',
    reason: '',
  });
  await remove(cloud, name);
  await t.rejects(remove(cloud, name), { code: 'RESOURCE_NOT_FOUND' });
  await t.rejects(remove(cloud, 'firmware/pi'), { code: 'REQUEST_INVALID' });
});

t.test('tells the deltas that were made of what was uploaded', async (t) => {
  const cloud = await cloudUnderTest(t, { firmware: { deltaSources: 1 } });
  const before = randomBytes(40_000);
  await uploadImage(cloud, Buffer.concat([before, Buffer.alloc(10_000)]));
  const image = Buffer.concat([Buffer.alloc(10_000, 1), before]);
  const { name } = await uploadImage(cloud, image, { version: '3.0' });
  const deltas = async () => {
    const got = await cloud.call(cloud.firmware, cloud.firmware.getFirmware, { name });
    return got.deltas.map(({ fromVersion }) => fromVersion).sort();
  };
  await waitUntil('both are made', async () => (await deltas()).length === 2, {
    deadlineMs: 60_000,
  });
  t.same(await deltas(), ['', '2.0']);
});
