import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MetadataFolder } from '../../../firmware/metadata-folder.js';
import { trustRoot } from '../../../firmware/trusted-state.js';
import { verifyMetadata } from '../../../firmware/verify-release.js';
import { testSigner } from './test-signer.js';

/** People on different machines, who carry one folder of metadata from one to the other. */
const setUp = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-signing-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const metadata = join(folder, 'metadata');
  const keysOf = (name: string) => join(folder, name, 'firmware-keys');
  const image = join(folder, 'app-2.0.0.tar.gz');
  await writeFile(image, 'an application');
  const files = new MetadataFolder(metadata);
  return {
    folder,
    image,
    keysOf,
    metadata,
    files,
    signer: (name: string) => testSigner(join(folder, name), metadata),
    /** Whether everybody else would believe what is in the folder. */
    verdict: async (trusted = 'root.1.json') => {
      const root = (await readFile(join(metadata, trusted), 'utf8')).trimEnd();
      const first = trustRoot({ role: 'root', version: 1, signed: root });
      const verdict = verifyMetadata(first, await files.read(), Date.UTC(2030, 0, 2), {
        head: null,
      });
      return verdict.ok ? verdict.trusted.versions : verdict.code;
    },
  };
};

t.test(
  'signs an image that is verified offline, and says what is wrong with another',
  async (t) => {
    const { signer, image, verdict, keysOf, folder } = await setUp(t);
    const alice = signer('alice');
    await t.rejects(alice.run('sign', image, '--model', 'pi', '--version', '2.0.0'), {
      code: 'FIRMWARE_METADATA_MISSING',
      data: { next: 'holdfast firmware keys init' },
    });
    await alice.run('keys', 'init');
    t.equal((await stat(join(keysOf('alice'), 'root.pem'))).mode & 0o777, 0o600);
    t.match(
      await readFile(join(keysOf('alice'), 'root.pem'), 'utf8'),
      /BEGIN ENCRYPTED PRIVATE KEY/,
    );
    await t.rejects(alice.run('keys', 'init'), { code: 'RESOURCE_EXISTS' });
    await alice.run('keys', 'delegate', 'release', '--paths', 'pi/*/*');
    t.same(await verdict(), { root: 1, targets: 2, release: 1 });

    const sign = ['sign', image, '--model', 'pi', '--version', '2.0.0'];
    await alice.run('keys', 'create', 'small');
    const signed = await alice.run(
      ...[...sign, '--hardware', 'b', '--source-versions', '>=1 <3', '--security-counter', '3'],
      ...['--installer', 'script', '--step', 'install=install.sh:600', '--image-key', 'small'],
    );
    t.match(signed, {
      target: 'pi/2.0.0/app-2.0.0.tar.gz',
      size_bytes: 14,
      manifest: {
        hardware: ['b'],
        source_versions: '>=1 <3',
        security_counter: 3,
        steps: [{ name: 'install', file: 'install.sh', timeout_ms: 600_000 }],
      },
      files: [{ role: 'release', version: 2, missing_signatures: 0 }],
    });
    t.match(await alice.run('verify', image), {
      signedBy: 'release',
      image_signatures: [{ scheme: 'ed25519', verified_with: 'small' }],
    });
    await t.rejects(alice.run('verify', image, '--model', 'pump'), {
      code: 'FIRMWARE_WRONG_MODEL',
    });
    await t.rejects(alice.run('verify', image, '--current', '4.0'), {
      code: 'FIRMWARE_SOURCE_VERSION',
    });
    await t.rejects(
      alice.run('sign', image, '--model', 'pump', '--version', '1', '--role', 'release'),
      {
        code: 'NOT_AUTHORISED',
      },
    );
    for (const wrong of [
      ['--source-versions', 'newest'],
      ['--security-counter', '-1'],
      ['--step', 'x'],
      ['--image-key', 'nobody'],
      ['--installer', 'flash'],
      ['--part', 'atmega328p'],
    ]) {
      await t.rejects(alice.run(...sign, ...wrong), { code: /REQUEST_INVALID|RESOURCE_NOT_FOUND/ });
    }
    await writeFile(image, 'an applicatiom');
    await t.rejects(alice.run('verify', image), { code: 'UPDATE_DIGEST_MISMATCH' });
    await t.rejects(alice.run(...sign), { code: 'RESOURCE_EXISTS' }, 'a version has one image');
    const other = join(folder, 'other.bin');
    await writeFile(other, 'unknown');
    await t.rejects(alice.run('verify', other), { code: 'FIRMWARE_TARGET_UNKNOWN' });
    await t.rejects(alice.run('upload', other), { code: 'FIRMWARE_TARGET_UNKNOWN' });
    alice.now = Date.UTC(2040, 0, 1);
    await writeFile(image, 'an application');
    await t.rejects(alice.run('verify', image), { code: 'FIRMWARE_METADATA_EXPIRED' });
    await alice.run('verify', image, '--allow-expired');
    const late = join(folder, 'late.bin');
    await writeFile(late, 'signed too late');
    const stale = await alice.run('sign', late, '--model', 'valve', '--version', '9.0.0');
    t.match(stale, { next: /keys renew/ }, 'what is signed by an expired role says so');
    await alice.run('keys', 'renew');
    await alice.run('verify', image);
  },
);

t.test('signs what is flashed into a microcontroller, with the part that it is for', async (t) => {
  const { signer, folder } = await setUp(t);
  const alice = signer('alice');
  await alice.run('keys', 'init');
  await alice.run('keys', 'delegate', 'release', '--paths', 'pump/*/*');
  const image = join(folder, 'pump-2.0.0.hex');
  const hex = ':040000000C94340028\n:00000001FF\n';
  await writeFile(image, hex);
  const sign = ['sign', image, '--model', 'pump', '--version', '2.0.0'];
  await t.rejects(alice.run(...sign, '--installer', 'flash'), {
    code: 'REQUEST_INVALID',
    message: 'part: the installer flash needs the part that it is for, as atmega328p',
  });
  await t.rejects(alice.run(...sign, '--part', 'atmega328p'), {
    code: 'REQUEST_INVALID',
    message: 'part: only the installer flash has a part',
  });
  const flash = [...sign, '--installer', 'flash', '--part'];
  await t.rejects(alice.run(...flash, 'atmega382p'), { code: 'FLASH_PART_UNKNOWN' });
  await writeFile(image, hex.replace('28', '29'));
  await t.rejects(alice.run(...flash, 'atmega328p'), {
    code: 'FLASH_IMAGE_INVALID',
    message: /Line 1 of the Intel HEX file has a wrong checksum/,
  });
  await writeFile(image, Buffer.alloc(10_000, 1));
  await t.rejects(alice.run(...flash, 'atmega8'), { code: 'FLASH_IMAGE_TOO_LARGE' });
  await writeFile(image, hex);
  t.match(await alice.run(...flash, 'atmega328p'), {
    manifest: { installer: 'flash', part: 'atmega328p' },
  });
  t.match(await alice.run('verify', image), { manifest: { part: 'atmega328p' } });
});

t.test('lets several people sign the root on different machines', async (t) => {
  const { signer, keysOf, verdict } = await setUp(t);
  const [alice, bob] = [signer('alice'), signer('bob')];
  await bob.run('keys', 'create', 'bob');
  await mkdir(keysOf('alice'), { recursive: true });
  await copyFile(join(keysOf('bob'), 'bob.pub'), join(keysOf('alice'), 'bob.pub'));
  const two = ['--root', 'alice', '--root', 'bob'];
  await t.rejects(alice.run('keys', 'init', ...two), { code: 'REQUEST_INVALID' });
  const begun = await alice.run('keys', 'init', ...two, '--root-threshold', '2');
  t.match(begun, {
    files: [{ role: 'root', missing_signatures: 1 }, { role: 'targets' }],
    next: /sign-root/,
  });
  t.equal(await verdict(), 'FIRMWARE_THRESHOLD_NOT_MET');
  t.match(await bob.run('keys', 'sign-root'), { files: [{ missing_signatures: 0 }] });
  t.same(await verdict(), { root: 1, targets: 1 });

  t.comment('the next root takes both of them again, and a new key its own signature');
  const rotated = await alice.run('keys', 'rotate', 'alice');
  t.match(rotated, { files: [{ role: 'root', version: 2, missing_signatures: 1 }] });
  t.equal(await verdict(), 'FIRMWARE_THRESHOLD_NOT_MET');
  await bob.run('keys', 'sign-root');
  t.same(await verdict(), { root: 2, targets: 1 });
  const carol = signer('carol');
  await carol.run('keys', 'create', 'carol');
  await t.rejects(carol.run('keys', 'sign-root'), { code: 'NOT_AUTHORISED' });
  const carolPub = join(keysOf('carol'), 'carol.pub');
  const added = await bob.run(
    ...['keys', 'add', 'carol', '--role', 'root', '--public', carolPub, '--threshold', '3'],
  );
  t.match(added, { files: [{ role: 'root', version: 3, missing_signatures: 2 }] });
  await carol.run('keys', 'sign-root');
  t.match(await alice.run('keys', 'sign-root'), { files: [{ missing_signatures: 0 }] });
  t.same(await verdict(), { root: 3, targets: 1 });
  await t.rejects(bob.run('keys', 'remove', 'carol'), { code: 'FIRMWARE_THRESHOLD_NOT_MET' });
});

t.test('rotates and removes keys of roles, and signs anew what they had signed', async (t) => {
  const { signer, image, verdict } = await setUp(t);
  const alice = signer('alice');
  await alice.run('keys', 'init');
  await alice.run('keys', 'delegate', 'release', '--paths', '*/*/*');
  await alice.run('sign', image, '--model', 'pi', '--version', '2.0.0');
  await alice.run('keys', 'rotate', 'targets');
  await alice.run('keys', 'rotate', 'release');
  t.same(await verdict(), { root: 2, targets: 4, release: 3 });
  await alice.run('verify', image);
  const added = await alice.run('keys', 'add', 'second', '--role', 'release', '--threshold', '2');
  t.match(added, { files: [{ role: 'targets' }, { role: 'release', missing_signatures: 0 }] });
  t.match(await alice.run('keys', 'sign', 'release'), { files: [{ missing_signatures: 0 }] });
  t.same(await verdict(), { root: 2, targets: 5, release: 3 });
  await t.rejects(alice.run('keys', 'remove', 'second'), { code: 'FIRMWARE_THRESHOLD_NOT_MET' });
  const rows = (await alice.run('keys', 'list')) as unknown as { role: string; keys: object[] }[];
  t.match(rows, [
    { role: 'root', keys: [{ name: 'root', held: true }] },
    { role: 'targets', keys: [{ name: 'targets-2' }] },
    { role: 'release', threshold: 2, keys: [{ name: 'release-2' }, { name: 'second' }] },
  ]);
});

t.test('opens no key without its passphrase, which is asked for once', async (t) => {
  const { signer, folder } = await setUp(t);
  const alice = signer('alice');
  alice.passphrase = 'short';
  await t.rejects(alice.run('keys', 'init'), { code: 'PASSWORD_UNFIT' });
  alice.passphrase = 'long enough to be one';
  alice.asked.length = 0;
  await alice.run('keys', 'init');
  t.equal(alice.asked.length, 1);
  alice.passphrase = 'long enough to be another';
  await t.rejects(alice.run('keys', 'delegate', 'release', '--paths', '*/*/*'), {
    code: 'KEY_INVALID',
  });
  const file = join(folder, 'passphrase');
  await writeFile(file, 'long enough to be one\n');
  alice.asked.length = 0;
  await alice.run('keys', 'delegate', 'release', '--paths', '*/*/*', '--passphrase-file', file);
  t.same(alice.asked, []);
  for (const wrong of [
    ['delegate', 'targets', '--paths', '*/*/*'],
    ['delegate', 'other', '--paths', '**'],
    ['rotate', 'nobody'],
    ['add', 'more', '--role', 'unknown'],
    ['renew', '--expires-days', 'soon'],
  ]) {
    await t.rejects(alice.run('keys', ...wrong, '--passphrase-file', file), {
      code: /REQUEST_INVALID|RESOURCE_NOT_FOUND/,
    });
  }
});
