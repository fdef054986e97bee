/**
 * The attacks that TUF is there for (specification 1.0, section 1.5.2), each on the files of a repository as they stand on a disk, and
 * each refused by its name.
 */

import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import fc from 'fast-check';
import t from 'tap';
import { download } from '../transfer/download.js';
import type { DeviceOfRelease } from './fits-device.js';
import { largestTargetsBytes, metadataId } from './metadata-file.js';
import { generateRoleKey } from './role-key.js';
import { TestReleases } from './test-releases.js';
import { headOf, hourMs, now, repository } from './test-repository.js';
import type { VerifyOptions } from './verify-release.js';
import { signTargets } from './write-metadata.js';

const image = Buffer.from('an image of a pump');
const pump = { model: 'pump', version: '2.0', image };

t.test('arbitrary software: what nobody signed is not installed', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  const head = await site.publish();
  const { trusted } = site.releases;
  t.type(await site.install(trusted, target, { head }), 'object');

  await writeFile(site.imagePath(target), 'an image of a thief');
  t.equal(await site.install(trusted, target, { head }), 'FIRMWARE_DATA_ENDLESS');
  await writeFile(site.imagePath(target), 'an image of a punk');
  t.equal(await site.install(trusted, target, { head }), 'UPDATE_DIGEST_MISMATCH');

  const thief = await repository(t);
  await thief.add({ ...pump, image: Buffer.from('an image of a punk') });
  await thief.publish();
  for (const role of ['release-pump', 'targets']) {
    await rename(thief.pathOf(role), site.pathOf(role));
    t.equal(await site.install(trusted, target), 'FIRMWARE_SIGNATURE_INVALID', role);
  }
  t.equal(await site.install(trusted, 'pump/9.9/image.bin'), 'FIRMWARE_SIGNATURE_INVALID');
});

t.test('a name that nobody signed, or that its signer may not sign, is unknown', async (t) => {
  const site = await repository(t);
  await site.add(pump);
  await site.add({ ...pump, model: 'valve' });
  await site.publish();
  const { releases } = site;
  t.equal(await site.install(releases.trusted, 'pump/9.9/image.bin'), 'FIRMWARE_TARGET_UNKNOWN');
  // The key for pumps signs a valve.
  const [key] = [releases.releaseKeys.get('pump')];
  if (key === undefined) throw new Error('no key');
  const content = releases.modelContent('valve', 2);
  const [first] = Object.values(content.targets);
  if (first === undefined) throw new Error('no release');
  const forged = { ...content, targets: { 'valve/3.0/image.bin': first } };
  await site.metadata.write(signTargets('release-pump', forged, [key]));
  t.equal(await site.install(releases.trusted, 'valve/3.0/image.bin'), 'FIRMWARE_TARGET_UNKNOWN');
});

t.test('rollback: neither metadata nor image goes back', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  await site.publish();
  const old = new Map((await site.metadata.read()).map((file) => [metadataId(file), file]));
  await site.add({ ...pump, version: '2.1' });
  site.releases.rotateRoot();
  await site.publish();
  const { trusted } = site.releases;
  const seen = await site.install(trusted, target);
  if (typeof seen === 'string') throw new Error(seen);
  t.match(seen.versions, { root: 2, targets: 2, 'release-pump': 2 });
  for (const role of ['targets', 'release-pump']) {
    await site.publish();
    const file = old.get(role);
    if (file === undefined) throw new Error(role);
    await site.metadata.write(file);
    t.equal(await site.install(seen, target), 'FIRMWARE_ROLLBACK', role);
    t.type(await site.install(trusted, target), 'object', 'whoever saw nothing newer cannot know');
  }
  await site.publish();
  await rm(site.pathOf('root.2'));
  t.equal(await site.install(seen, target), 'FIRMWARE_ROLLBACK', 'root');
  await site.publish();
  const device = { version: '2.1' };
  t.equal(await site.install(seen, target, { device }), 'FIRMWARE_ROLLBACK', 'image');
  t.type(await site.install(seen, target, { device: { ...device, allowsOlder: true } }), 'object');
});

t.test('indefinite freeze: what nobody vouches for any more is not begun', async (t) => {
  const releases = new TestReleases({ expiresAt: now + 48 * hourMs });
  const site = await repository(t, releases);
  const { target } = await site.add(pump);
  const head = await site.publish();
  const at = (hours: number, options: Partial<VerifyOptions> = {}) =>
    site.install(releases.trusted, target, { at: now + hours * hourMs, head, ...options });
  t.type(await at(24.9), 'object', 'within its grace');
  t.equal(await at(25), 'FIRMWARE_FROZEN');
  t.equal(await at(3, { maxPlanAgeMs: 2 * hourMs }), 'FIRMWARE_FROZEN', 'the campaign wants newer');
  const newer = headOf(releases.metadata(), now + 40 * hourMs);
  t.type(await at(47, { head: newer }), 'object');
  t.equal(await at(48, { head: newer }), 'FIRMWARE_METADATA_EXPIRED');
  const policy = { head: newer, expiredGraceMs: 2 * hourMs };
  t.type(await at(49, policy), 'object', 'as long as the policy of the plan says');
  t.equal(await at(50, policy), 'FIRMWARE_METADATA_EXPIRED', 'and no longer');
  const unknown = await site.install(releases.trusted, target, { at: null, head });
  t.type(unknown, 'object', 'a clock that nobody set checks no dates');
});

t.test('endless data: reading ends where what is signed ends', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  await site.publish();
  const { trusted } = site.releases;
  await appendFile(site.imagePath(target), 'and more');
  t.equal(await site.install(trusted, target), 'FIRMWARE_DATA_ENDLESS');
  for (const [name, bytes] of [
    ['release-pump', largestTargetsBytes],
    ['root.1', largestTargetsBytes],
  ] as const) {
    await site.publish();
    await site.change(name, '"signed"', `"padding":"${'x'.repeat(bytes)}","signed"`);
    // A root that is trusted already is not read again: with nothing trusted, this one is.
    t.equal(await site.install(null, target), 'FIRMWARE_DATA_ENDLESS', name);
  }
});

t.test('extraneous dependencies: nothing is added to what was signed', async (t) => {
  const site = await repository(t);
  const { target } = await site.add({ ...pump, installer: 'script' });
  const head = await site.publish();
  const { trusted } = site.releases;
  const step = '{"file":"steal.sh","name":"steal","timeout_ms":1}';
  await site.change('release-pump', '"steps":[]', `"steps":[${step}]`);
  t.equal(await site.install(trusted, target), 'FIRMWARE_SIGNATURE_INVALID');
  await site.publish();
  const [key] = site.releases.targetsKeys;
  if (key === undefined) throw new Error('no key');
  await site.metadata.write(signTargets('extra', site.releases.modelContent('pump', 9), [key]));
  t.equal(await site.install(trusted, target, { head }), 'FIRMWARE_MIX_AND_MATCH');
});

t.test('mix-and-match: files that were never current together', async (t) => {
  const site = await repository(t);
  const { target, body } = await site.add(pump);
  const before = await site.publish();
  await site.add({ ...pump, version: '2.1' });
  const head = await site.publish();
  const { trusted } = site.releases;
  t.type(await site.install(trusted, target, { head }), 'object');
  t.equal(await site.install(trusted, target, { head: before }), 'FIRMWARE_MIX_AND_MATCH');
  const { model, version, sha256, size_bytes: sizeBytes } = body;
  const planned = { model, version, sha256, sizeBytes };
  t.type(await site.install(trusted, target, { head, image: planned }), 'object');
  for (const other of [{ sha256: 'f'.repeat(64) }, { version: '9.0' }, { model: 'valve' }]) {
    t.equal(
      await site.install(trusted, target, { head, image: { ...planned, ...other } }),
      'FIRMWARE_MIX_AND_MATCH',
      `the plan has another image than the one that was signed: ${Object.keys(other).join()}`,
    );
  }
  const seen = await site.install(trusted, target, { head });
  if (typeof seen === 'string') throw new Error(seen);
  // Two files of one version: whoever holds the key says one thing here and another there.
  const key = site.releases.releaseKeys.get('pump');
  if (key === undefined) throw new Error('no key');
  const twin = { ...site.releases.modelContent('pump', 2), expiresAt: now + hourMs };
  await site.metadata.write(signTargets('release-pump', twin, [key]));
  t.equal(await site.install(seen, target), 'FIRMWARE_MIX_AND_MATCH');
  await site.publish();
  const stranger = await repository(t);
  await stranger.publish();
  await rename(stranger.pathOf('root.1'), site.pathOf('root.1'));
  t.equal(await site.install(trusted, target), 'FIRMWARE_MIX_AND_MATCH', "another fleet's root");
});

t.test('wrong software: what was signed for others is not installed here', async (t) => {
  const site = await repository(t);
  const { target } = await site.add({
    ...pump,
    hardware: ['b'],
    source_versions: '>=1.5',
    security_counter: 3,
  });
  await site.publish();
  const fitting: DeviceOfRelease = {
    ...{ model: 'pump', hardware: 'b', version: '1.9', securityCounter: 3 },
  };
  const on = (device: DeviceOfRelease) =>
    site.install(site.releases.trusted, target, { device: { ...fitting, ...device } });
  t.type(await on({}), 'object');
  t.equal(await on({ model: 'valve' }), 'FIRMWARE_WRONG_MODEL');
  t.equal(await on({ hardware: 'a' }), 'FIRMWARE_WRONG_HARDWARE');
  t.equal(await on({ version: '1.4' }), 'FIRMWARE_SOURCE_VERSION');
  t.equal(await on({ securityCounter: 4 }), 'FIRMWARE_COUNTER_TOO_LOW');
});

t.test('malicious mirrors: what is held back is missed', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  site.releases.rotateRoot();
  site.releases.rotateRoot();
  await site.publish();
  const { trusted } = site.releases;
  for (const name of ['release-pump', 'targets', 'root.2']) {
    await rm(site.pathOf(name));
    t.equal(await site.install(trusted, target), 'FIRMWARE_METADATA_MISSING', name);
    await site.publish();
  }
  for (const name of ['root.1', 'root.2', 'root.3']) await rm(site.pathOf(name));
  t.equal(await site.install(trusted, target), 'FIRMWARE_METADATA_MISSING', 'every root');
});

t.test(
  'key compromise: fewer keys than it takes sign nothing, and old keys sign no more',
  async (t) => {
    const site = await repository(t);
    const { target } = await site.add(pump);
    await site.publish();
    const { releases } = site;
    const [stolen, other] = releases.rootKeys;
    if (stolen === undefined || other === undefined) throw new Error('no keys');
    // The thief of one root key makes himself the owner.
    const thief = generateRoleKey();
    const grab = { keys: [thief.publicKey], threshold: 1 };
    await site.metadata.write(releases.rotateRoot({ root: grab, targets: grab }, [stolen, thief]));
    t.equal(await site.install(releases.trusted, target), 'FIRMWARE_THRESHOLD_NOT_MET');
    await rm(site.pathOf('root.2'));

    // The owner replaces the stolen key: what the thief signs with it counts no more.
    const fresh = generateRoleKey();
    const owner = await repository(t, new TestReleases());
    const { releases: own } = owner;
    const { target: ours } = await owner.add(pump);
    const [first, second] = own.rootKeys;
    if (first === undefined || second === undefined) throw new Error('no keys');
    const keys = { keys: [fresh.publicKey, second.publicKey], threshold: 2 };
    own.rotateRoot({ root: keys }, [first, second, fresh]);
    await owner.publish();
    const seen = await owner.install(own.trusted, ours);
    if (typeof seen === 'string') throw new Error(seen);
    t.equal(seen.versions.root, 2);
    await owner.metadata.write(own.rotateRoot({ root: keys }, [first, second]));
    t.equal(await owner.install(seen, ours), 'FIRMWARE_THRESHOLD_NOT_MET');
    t.equal(await owner.install(own.trusted, ours), 'FIRMWARE_THRESHOLD_NOT_MET');
  },
);

t.test('fast-forward: a thief of keys locks nobody out for ever', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  const key = site.releases.releaseKeys.get('pump');
  if (key === undefined) throw new Error('no key');
  await site.publish();
  const far = site.releases.modelContent('pump', Number.MAX_SAFE_INTEGER);
  await site.metadata.write(signTargets('release-pump', far, [key]));
  const seen = await site.install(site.releases.trusted, target);
  if (typeof seen === 'string') throw new Error(seen);
  await site.publish();
  t.equal(await site.install(seen, target), 'FIRMWARE_ROLLBACK', 'the same key goes no way back');
  site.releases.releaseKeys.set('pump', generateRoleKey());
  await site.add(pump);
  await site.publish();
  t.type(await site.install(seen, target), 'object', 'with a new key versions begin anew');
});

t.test('slow retrieval: a mirror that goes silent is left', async (t) => {
  const site = await repository(t);
  const { target, body } = await site.add(pump);
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': image.length });
    response.write(image.subarray(0, 3));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  await t.rejects(
    download({
      url: `http://127.0.0.1:${port}/${target}`,
      path: join(site.folder, 'image'),
      sha256: body.sha256,
      sizeBytes: body.size_bytes,
      idleTimeoutMs: 50,
      signal: new AbortController().signal,
    }),
    { code: 'DEADLINE_EXCEEDED' },
  );
});

t.test('no byte of any file can be another one', async (t) => {
  const site = await repository(t);
  await site.add({ ...pump, model: 'valve' });
  const { target } = await site.add({ ...pump, image_signatures: [] });
  site.releases.rotateRoot();
  await site.publish();
  const names = ['root.1', 'root.2', 'targets', 'release-pump'];
  const files = new Map<string, Buffer>();
  for (const name of names) files.set(name, await readFile(site.pathOf(name)));
  const { trusted } = site.releases;
  t.type(await site.install(trusted, target), 'object');
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (name, place, mask, isTrusted) => {
        const whole = files.get(name) ?? Buffer.alloc(0);
        const changed = Buffer.from(whole);
        const at = place % whole.length;
        changed[at] = (whole[at] ?? 0) ^ mask;
        await writeFile(site.pathOf(name), changed);
        const result = await site.install(isTrusted ? trusted : null, target);
        await writeFile(site.pathOf(name), whole);
        return typeof result === 'string';
      },
    ),
    { numRuns: 250 },
  );
});

t.test('a file in another form than the canonical one is none', async (t) => {
  const site = await repository(t);
  const { target } = await site.add(pump);
  await site.publish();
  const text = await readFile(site.pathOf('release-pump'), 'utf8');
  const json = JSON.parse(text);
  const [signature] = json.signatures;
  for (const [why, form] of [
    ['indented', JSON.stringify(json, null, 1)],
    ['a key twice', text.replace('{"signatures"', '{"signatures":[],"signatures"')],
    ['a signature twice', canonicalJson({ ...json, signatures: [signature, signature] })],
    ['upper case', text.replace(signature.sig, signature.sig.toUpperCase())],
    ['more beside it', canonicalJson({ ...json, more: 1 })],
  ] as const) {
    await writeFile(site.pathOf('release-pump'), form);
    t.equal(await site.install(site.releases.trusted, target), 'FIRMWARE_METADATA_INVALID', why);
  }
});
