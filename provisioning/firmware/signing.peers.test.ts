/**
 * What is signed here is read by programs that nobody here wrote: OpenSSL, as small devices check one signature; the reference client of
 * TUF for JavaScript; and securesystemslib, on which the one for Python stands.
 */
import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import t, { type Test } from 'tap';
import { Updater } from 'tuf-js';
import { signImage } from './image-signature.js';
import { generateRoleKey, type RoleKey, signWith } from './role-key.js';
import { TestReleases } from './test-releases.js';
import { verifyRelease } from './verify-release.js';

const run = promisify(execFile);
const image = Buffer.from('an image of a pump');

const folderOf = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-signing-peers-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

t.test('OpenSSL checks the one signature that a small device checks', async (t) => {
  const folder = await folderOf(t);
  const at = (name: string) => join(folder, name);
  await writeFile(at('image'), image);
  await run('openssl', ['dgst', '-sha256', '-binary', '-out', at('digest'), at('image')]);
  const sha256 = (await readFile(at('digest'))).toString('hex');
  await writeFile(at('other'), createHash('sha256').update('another').digest());
  const pss = [
    ...['-digest', 'sha256', '-pkeyopt', 'rsa_padding_mode:pss'],
    ...['-pkeyopt', 'rsa_pss_saltlen:32', '-pkeyopt', 'rsa_mgf1_md:sha256'],
  ];
  const keys: readonly (readonly [KeyObject, string, readonly string[]])[] = [
    [generateKeyPairSync('ed25519').privateKey, 'ed25519', []],
    [generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey, 'rsassa-pss-sha256', pss],
  ];
  for (const [key, scheme, options] of keys) {
    const signature = signImage(sha256, key);
    t.equal(signature.scheme, scheme);
    await writeFile(at('signature'), Buffer.from(signature.signature, 'hex'));
    await writeFile(at('key.pem'), key.export({ type: 'pkcs8', format: 'pem' }));
    await run('openssl', ['pkey', '-in', at('key.pem'), '-pubout', '-out', at('key.pub')]);
    const verify = (digest: string) =>
      run('openssl', [
        ...['pkeyutl', '-verify', '-pubin', '-inkey', at('key.pub'), '-rawin'],
        ...['-in', at(digest), '-sigfile', at('signature'), ...options],
      ]);
    t.match((await verify('digest')).stdout, /Verified Successfully/, scheme);
    await t.rejects(verify('other'), scheme);
  }
});

/** What TUF's own clients want besides: snapshot and timestamp, whose place the head of the plan takes here. */
const tufRepository = async (t: Test) => {
  const folder = await folderOf(t);
  const releases = new TestReleases();
  const { target, content } = releases.add({ model: 'pump', version: '2.0', image });
  const place = generateRoleKey();
  const write = async (name: string, text: string | Buffer) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  };
  const signed = (json: object, keys: readonly RoleKey[]) =>
    canonicalJson({
      signatures: keys.map((key) => ({ keyid: key.id, sig: signWith(key, json) })),
      signed: json,
    });
  const withPlace = (text: string, keys: readonly RoleKey[]) => {
    const { signed: json } = JSON.parse(text);
    const holders = { keyids: [place.id], threshold: 1 };
    const roles = { ...json.roles, snapshot: holders, timestamp: holders };
    const root = { ...json, roles, keys: { ...json.keys, [place.id]: place.publicKey } };
    return signed(root, keys);
  };
  const common = { spec_version: '1.0.31', expires: '2100-01-01T00:00:00Z', version: 1 };
  releases.rotateRoot();
  const roots = releases
    .metadata()
    .filter(({ role }) => role === 'root')
    .map(({ signed: text }) => withPlace(text, releases.rootKeys));
  for (const [index, text] of roots.entries()) await write(`metadata/${index + 1}.root.json`, text);
  for (const { role, signed: text } of releases.metadata()) {
    if (role !== 'root') await write(`metadata/1.${role}.json`, text);
  }
  const meta = { 'targets.json': { version: 1 }, 'release-pump.json': { version: 1 } };
  await write('metadata/1.snapshot.json', signed({ _type: 'snapshot', ...common, meta }, [place]));
  await write(
    'metadata/timestamp.json',
    signed({ _type: 'timestamp', ...common, meta: { 'snapshot.json': { version: 1 } } }, [place]),
  );
  // A client asks by whichever of the hashes it likes.
  for (const hash of Object.values(content.hashes)) {
    await write(`targets/pump/2.0/${hash}.image.bin`, image);
  }
  const server = createServer((request, response) => {
    readFile(join(folder, request.url ?? '')).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let clients = 0;
  return {
    releases,
    target,
    write,
    withPlace,
    read: (name: string) => readFile(join(folder, name), 'utf8'),
    /** A client that knows nothing but the first root. */
    install: async (): Promise<Buffer> => {
      clients += 1;
      const metadataDir = join(folder, `client-${clients}`);
      await mkdir(metadataDir);
      await writeFile(join(metadataDir, 'root.json'), roots[0] ?? '');
      const updater = new Updater({
        metadataDir,
        metadataBaseUrl: `${address}/metadata`,
        targetDir: metadataDir,
        targetBaseUrl: `${address}/targets`,
        config: { fetchRetries: 0 },
      });
      await updater.refresh();
      const info = await updater.getTargetInfo(target);
      if (info === undefined) throw new Error('the target is unknown');
      const path = join(metadataDir, 'image');
      await updater.downloadTarget(info, path);
      return readFile(path);
    },
  };
};

t.test(
  "TUF's own client installs what was signed here, and refuses what is refused here",
  async (t) => {
    const { releases, target, write, withPlace, read, install } = await tufRepository(t);
    t.same(await install(), image);
    const here = () =>
      verifyRelease(releases.trusted, releases.metadata(), target, 0, { head: null });
    t.match(here(), { ok: true });

    const role = 'metadata/1.release-pump.json';
    const text = await read(role);
    for (const changed of [
      text.replace('"security_counter":0', '"security_counter":9'),
      text.replace('"length":18', '"length":17'),
    ]) {
      await write(role, changed);
      await t.rejects(install());
      const files = releases
        .metadata()
        .map((file) => (file.role === 'release-pump' ? { ...file, signed: changed } : file));
      const verdict = verifyRelease(releases.trusted, files, target, 0, { head: null });
      t.match(verdict, { ok: false, code: 'FIRMWARE_SIGNATURE_INVALID' });
    }
    await write(role, text);
    t.same(await install(), image);

    // One key of two signs the next root.
    const lone = releases.rotateRoot({}, releases.rootKeys.slice(1));
    await write('metadata/3.root.json', withPlace(lone.signed, releases.rootKeys.slice(1)));
    await t.rejects(install());
    t.match(here(), { ok: false, code: 'FIRMWARE_THRESHOLD_NOT_MET' });
  },
);

const python = `
import json, sys
from securesystemslib import formats, keys

def good(text, named):
    data = json.loads(text)
    signed = formats.encode_canonical(data["signed"]).encode()
    return sorted(s["keyid"] for s in data["signatures"]
        if s["keyid"] in named and keys.verify_signature({**named[s["keyid"]], "keyid": s["keyid"]}, s, signed))

files = json.load(sys.stdin)
named = {}
for text in files.values():
    signed = json.loads(text)["signed"]
    named.update(signed.get("keys", {}))
    named.update(signed.get("delegations", {}).get("keys", {}))
print(json.dumps({name: good(text, named) for name, text in files.items()}))
`;

t.test('securesystemslib finds the same signatures good', async (t) => {
  const releases = new TestReleases();
  releases.add({ model: 'pump', version: '2.0', image, hardware: ['Revision "B" \\ µ'] });
  const files = Object.fromEntries(
    releases.metadata().map(({ role, signed }) => [role, signed] as const),
  );
  const key = releases.releaseKeys.get('pump');
  const changed = { ...files, changed: files['release-pump']?.replace('pump/2.0', 'pump/2.1') };
  const child = run('/usr/bin/python3', ['-c', python]);
  child.child.stdin?.end(JSON.stringify(changed));
  const { stdout } = await child;
  t.same(JSON.parse(stdout), {
    root: releases.rootKeys.map(({ id }) => id).sort(),
    targets: releases.targetsKeys.map(({ id }) => id),
    'release-pump': [key?.id],
    changed: [],
  });
});
