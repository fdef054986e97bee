/** A key in a token of SoftHSM: `softhsm2-util` must be installed. */
import 'reflect-metadata';
import { execFile } from 'node:child_process';
import { verify } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { createCrl } from './crl.js';
import { createRequest, parseRequest } from './csr.js';
import { issueDevice, issueSiteCa } from './issue.js';
import { createKey } from './keys.js';
import { openTokenKey } from './pkcs11.js';
import { createTestFleet } from './test-fleet.js';
import { verifyChain } from './verify.js';

const run = promisify(execFile);
const module = '/usr/lib/softhsm/libsofthsm2.so';
const folder = await mkdtemp(join(tmpdir(), 'holdfast-pkcs11-'));
t.teardown(() => rm(folder, { recursive: true }));
await mkdir(join(folder, 'tokens'));
await writeFile(join(folder, 'softhsm2.conf'), `directories.tokendir = ${folder}/tokens\n`);
// The library reads it from its own environment.
process.env.SOFTHSM2_CONF = join(folder, 'softhsm2.conf');
const pinFile = join(folder, 'pin');
await writeFile(pinFile, '4711\n', { mode: 0o600 });
await run('softhsm2-util', [
  ...['--init-token', '--free', '--label', 'site'],
  ...['--so-pin', '1234', '--pin', '4711'],
]);
const options = { module, token: 'site', pinFile, key: 'holdfast-site-ca' };

t.test('a site CA whose key never leaves its token signs what the others sign', async (t) => {
  const fleet = await createTestFleet();
  const made = await openTokenKey(options, { create: true });
  const request = await parseRequest(await createRequest(made, { commonName: 'site CA' }));
  const { now, root, site } = fleet;
  const certificate = await issueSiteCa(root, request.publicKey, { site, now });
  made.close();

  const key = await openTokenKey(options, { create: false });
  t.teardown(() => key.close());
  t.ok(key.publicKey.equals(request.publicKey), 'the key is still there');
  const siteCa = { certificate, key };
  const { publicKey } = await createKey();
  const devices = await Promise.all(
    ['pump-1', 'pump-2', 'pump-3'].map((device) => issueDevice(siteCa, publicKey, { device, now })),
  );
  for (const device of devices) {
    const chain = { intermediates: [certificate], root: root.certificate, at: now };
    t.equal(verifyChain({ ...chain, certificate: device, role: 'device' }).refused, undefined);
  }
  const crl = await createCrl(siteCa, {
    ...{ number: 1, thisUpdate: now, nextUpdate: now + 86_400_000 },
    revoked: [],
  });
  await writeFile(join(folder, 'site.crl'), crl);
  await writeFile(join(folder, 'site-ca.pem'), certificate.pem);
  const checked = await run('openssl', [
    ...['crl', '-noout', '-in', join(folder, 'site.crl')],
    ...['-CAfile', join(folder, 'site-ca.pem')],
  ]).catch((error: { stderr: string }) => error);
  t.match(checked.stderr, /verify OK/);
  const signature = await key.sign(Buffer.from('x'));
  t.ok(
    verify(
      'sha256',
      Buffer.from('x'),
      { key: key.publicKey, dsaEncoding: 'ieee-p1363' },
      signature,
    ),
  );
});

t.test('says what is wrong with a token, a key or a PIN', async (t) => {
  const open = (changes: Partial<typeof options>) =>
    openTokenKey({ ...options, ...changes }, { create: false });
  await t.rejects(open({ token: 'other' }), {
    code: 'KEY_INVALID',
    message: /tokens that are: site/,
  });
  await t.rejects(open({ key: 'other' }), {
    code: 'KEY_INVALID',
    message: /no private key "other"/,
  });
  await t.rejects(open({ module: join(folder, 'nothing.so') }), { code: 'KEY_INVALID' });
  await t.rejects(open({ pinFile: join(folder, 'nothing') }), {
    code: 'KEY_INVALID',
    message: /PIN cannot be read/,
  });
  const wrong = join(folder, 'wrong-pin');
  await writeFile(wrong, '0000');
  await t.rejects(open({ pinFile: wrong }), { code: 'KEY_INVALID', message: /CKR_PIN_INCORRECT/ });
});
