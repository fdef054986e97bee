import { generateKeyPairSync } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  createKey,
  loadOrCreateKey,
  parseKey,
  privatePem,
  readKeyFile,
  writeKeyFile,
} from './keys.js';

t.test('a key is made once and is its owner’s alone', async (t) => {
  const path = join(t.testdir(), 'device.key');
  const made = await loadOrCreateKey(path);
  const found = await loadOrCreateKey(path);
  t.ok(found.publicKey.equals(made.publicKey));
  t.equal((await stat(path)).mode & 0o777, 0o600);
  t.match(await readFile(path, 'utf8'), /^-----BEGIN PRIVATE KEY-----\n/);
});

t.test('a damaged file is refused by its name, never replaced', async (t) => {
  const path = join(t.testdir({ 'device.key': 'torn' }), 'device.key');
  await t.rejects(loadOrCreateKey(path), { code: 'KEY_INVALID', message: /device\.key/ });
  t.equal(await readFile(path, 'utf8'), 'torn');
  await t.rejects(readKeyFile(`${path}.missing`), { code: 'KEY_INVALID', message: /missing/ });
});

t.test('writing replaces the old key, and what a crash has left of another attempt', async (t) => {
  const path = join(t.testdir({ 'device.key': 'old' }), 'device.key');
  await writeFile(`${path}.new`, 'half', { mode: 0o644 });
  const key = await createKey();
  await writeKeyFile(path, key);
  t.ok((await readKeyFile(path)).publicKey.equals(key.publicKey));
  t.equal((await stat(path)).mode & 0o777, 0o600);
});

t.test('takes P-256 alone', async (t) => {
  const key = await createKey();
  t.ok(parseKey(privatePem(key)).publicKey.equals(key.publicKey));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  t.throws(() => parseKey(pem), { code: 'KEY_INVALID' });
});
