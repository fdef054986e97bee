import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MetadataFile } from '@holdfast/provisioning/firmware/metadata-file';
import { generateRoleKey } from '@holdfast/provisioning/firmware/role-key';
import { type TestRelease, TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { signTargets } from '@holdfast/provisioning/firmware/write-metadata';
import t, { type Test } from 'tap';
import { BlobStore } from '../blobs/blob-store.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { FirmwareLibrary } from './firmware-library.js';
import {
  metadataDocuments,
  preparePublication,
  publish,
  readMetadata,
} from './firmware-metadata.js';

const image = Buffer.from('an image');
const actor = 'cloud:admin';

const setUp = async (t: Test) => {
  const clock = { now: Date.UTC(2030, 0, 1) };
  const store = await storeUnderTest(t, { now: () => clock.now });
  const { engine, plans, now } = store;
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-blobs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const blobs = await BlobStore.open(folder);
  const library = new FirmwareLibrary({ engine, blobs, plans, now }, { maxImageBytes: 1_000 });
  return {
    engine,
    clock,
    upload: (
      { content, body }: TestRelease,
      metadata: readonly MetadataFile[],
      bytes: Uint8Array = image,
    ) =>
      library.upload(
        {
          model: body.model,
          version: body.version,
          fileName: body.file_name,
          sha256: body.sha256,
          sizeBytes: content.length,
        },
        (async function* () {
          yield bytes;
        })(),
        { actor, metadata },
      ),
    publish: (files: readonly MetadataFile[]) =>
      engine.write(async (tx) => {
        const publication = preparePublication(await readMetadata(tx.db), files, now());
        await publish(tx, { plans, now }, publication, actor);
      }),
    published: async () =>
      (await readMetadata(engine.read)).files.map(({ role, version }) => `${role} ${version}`),
    audited: async () =>
      (await engine.read.selectFrom('audit_entries').select('action').execute()).map(
        ({ action }) => action,
      ),
  };
};

t.test('takes what was signed, with its image or not at all', async (t) => {
  const { upload, published, audited, engine } = await setUp(t);
  const releases = new TestReleases();
  const release = releases.add({ model: 'pump', version: '2.0', image, security_counter: 3 });
  await t.rejects(upload(release, []), { code: 'FIRMWARE_TARGET_UNKNOWN' });
  await t.rejects(upload(release, releases.metadata(), Buffer.from('an other')), {
    code: 'UPDATE_DIGEST_MISMATCH',
  });
  t.same(await published(), [], 'nothing counts before the image is whole');
  const row = await upload(release, releases.metadata());
  t.match(row, { target: release.target, signed_by: 'release-pump' });
  t.match(JSON.parse(row.manifest), { security_counter: 3 });
  t.same(await published(), ['release-pump 1', 'root 1', 'targets 1']);
  await upload(release, []);
  t.same(await audited(), ['firmware.keys_published', 'firmware.uploaded'], 'the same once');
  const stored = await engine.read.selectFrom('audit_entries').selectAll().execute();
  t.match(stored[0]?.actor, actor);
  t.match(stored[1]?.resource, 'firmware/pump@2.0');
});

t.test('publishes nothing that goes back, or that another fleet signed', async (t) => {
  const { upload, publish, published } = await setUp(t);
  const releases = new TestReleases();
  const release = releases.add({ model: 'pump', version: '2.0', image });
  const first = releases.metadata();
  await upload(release, first);
  releases.add({ model: 'pump', version: '2.1', image });
  await publish(releases.metadata());
  t.same(await published(), ['release-pump 2', 'root 1', 'targets 2']);
  for (const [files, code] of [
    [first, 'FIRMWARE_ROLLBACK'],
    [new TestReleases().metadata(), 'FIRMWARE_MIX_AND_MATCH'],
    [[releases.rotateRoot({}, releases.rootKeys.slice(1))], 'FIRMWARE_THRESHOLD_NOT_MET'],
    [
      [signTargets('stray', releases.modelContent('pump', 1), [generateRoleKey()])],
      'FIRMWARE_MIX_AND_MATCH',
    ],
  ] as const) {
    await t.rejects(publish(files), { code }, code);
  }
  t.same(await published(), ['release-pump 2', 'root 1', 'targets 2']);
});

t.test('a root that is published stays what it is, also once a newer one is trusted', async (t) => {
  const { upload, publish, engine } = await setUp(t);
  const releases = new TestReleases();
  const release = releases.add({ model: 'pump', version: '2.0', image });
  releases.rotateRoot();
  await upload(release, releases.metadata());
  const [stranger] = new TestReleases().metadata();
  if (stranger === undefined) throw new Error('no root');
  await t.rejects(publish([stranger]), { code: 'FIRMWARE_MIX_AND_MATCH' });
  const [root] = await metadataDocuments(engine.read, []);
  t.same(root?.body, releases.metadata()[0], 'whoever comes new begins with it');
});

t.test('begins with the first root, and lets none expire unseen', async (t) => {
  const { publish } = await setUp(t);
  const releases = new TestReleases();
  releases.rotateRoot();
  const [, ...rest] = releases.metadata();
  await t.rejects(publish(rest), { code: 'FIRMWARE_METADATA_MISSING' });
  const expired = new TestReleases({ expiresAt: Date.UTC(2029, 0, 1) });
  await t.rejects(publish(expired.metadata()), { code: 'FIRMWARE_METADATA_EXPIRED' });
  await publish(releases.metadata());
});

t.test('lets a release be taken back, and not be another', async (t) => {
  const { upload, publish } = await setUp(t);
  const releases = new TestReleases();
  const release = releases.add({ model: 'pump', version: '2.0', image });
  await upload(release, releases.metadata());
  const key = releases.releaseKeys.get('pump');
  if (key === undefined) throw new Error('no key');
  const other = new TestReleases().add({ model: 'pump', version: '2.0', image: Buffer.from('x') });
  const changed = {
    ...releases.modelContent('pump', 2),
    targets: { [other.target]: other.content },
  };
  await t.rejects(publish([signTargets('release-pump', changed, [key])]), {
    code: 'FIRMWARE_MIX_AND_MATCH',
  });
  const without = { ...releases.modelContent('pump', 2), targets: {} };
  await publish([signTargets('release-pump', without, [key])]);
});

t.test(
  'gives a plan the whole chain of roots and the roles that lead to its firmware',
  async (t) => {
    const { upload, publish, engine } = await setUp(t);
    const releases = new TestReleases();
    const pump = releases.add({ model: 'pump', version: '2.0', image });
    const valve = releases.add({ model: 'valve', version: '1.0', image });
    releases.rotateRoot();
    await upload(pump, releases.metadata());
    await upload(valve, []);
    const ids = async (...targets: string[]) =>
      (await metadataDocuments(engine.read, targets)).map(({ id }) => id);
    t.same(await ids(), ['root.1', 'root.2', 'targets']);
    t.same(await ids(pump.target), ['release-pump', 'root.1', 'root.2', 'targets']);
    t.same(await ids('pump/9.9/unknown'), ['release-pump', 'root.1', 'root.2', 'targets']);

    // The delegation ends: what it had signed goes with it.
    const content = releases.targetsContent(2);
    const delegations = content.delegations.filter(({ name }) => name !== 'release-valve');
    await publish([signTargets('targets', { ...content, delegations }, releases.targetsKeys)]);
    t.same(
      (await readMetadata(engine.read)).files.map(({ role }) => role),
      ['release-pump', 'root', 'root', 'targets'],
    );
  },
);

t.test('a role whose file is yet to come keeps no plan from being made', async (t) => {
  const { upload, publish, engine } = await setUp(t);
  const releases = new TestReleases();
  const pump = releases.add({ model: 'pump', version: '2.0', image });
  await upload(pump, releases.metadata());
  const { publicKey } = generateRoleKey();
  const content = releases.targetsContent(2);
  const early = {
    ...{ name: 'early', paths: ['*/*/*'], terminating: false },
    ...{ keys: [publicKey], threshold: 1 },
  };
  const delegations = [early, ...content.delegations];
  await publish([signTargets('targets', { ...content, delegations }, releases.targetsKeys)]);
  const documents = await metadataDocuments(engine.read, [pump.target]);
  t.same(
    documents.map(({ id }) => id),
    ['root.1', 'targets'],
  );
});

t.test(
  'what one role let expire is published no more, and keeps nothing from others',
  async (t) => {
    const { upload, publish, published, clock } = await setUp(t);
    const releases = new TestReleases();
    const pump = releases.add({ model: 'pump', version: '2.0', image });
    releases.add({ model: 'valve', version: '1.0', image });
    const key = releases.releaseKeys.get('valve');
    if (key === undefined) throw new Error('no key');
    const until2031 = { ...releases.modelContent('valve', 1), expiresAt: Date.UTC(2031, 0, 1) };
    const valve = signTargets('release-valve', until2031, [key]);
    const files = releases.metadata().map((file) => (file.role === valve.role ? valve : file));
    await publish(files);
    clock.now = Date.UTC(2032, 0, 1);
    await upload(pump, []);
    const again = signTargets('release-valve', { ...until2031, version: 2 }, [key]);
    await t.rejects(publish([again]), { code: 'FIRMWARE_METADATA_EXPIRED' });
    t.same(await published(), ['release-pump 1', 'release-valve 1', 'root 1', 'targets 1']);
  },
);
