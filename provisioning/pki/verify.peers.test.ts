/** OpenSSL's opinion of what we issue, and ours of the same: `openssl` must be installed. */
import 'reflect-metadata';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BasicConstraintsExtension, ExtendedKeyUsageExtension } from '@peculiar/x509';
import t from 'tap';
import { type Certificate, pemChain } from './certificate.js';
import { createCrl } from './crl.js';
import { parseRequest } from './csr.js';
import { type Authority, issueDevice } from './issue.js';
import { createKey, writeKeyFile } from './keys.js';
import { keyUsages } from './oids.js';
import type { RefusalReason } from './refusal.js';
import { createTestFleet, forge } from './test-fleet.js';
import { verifyChain } from './verify.js';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'holdfast-pki-'));
t.teardown(() => rm(folder, { recursive: true }));
const file = async (name: string, text: string | Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};
const openssl = (...args: string[]): Promise<string> =>
  run('openssl', args, { timeout: 20_000 }).then(({ stdout, stderr }) => stdout + stderr);

const fleet = await createTestFleet();
const { now, root, siteCa } = fleet;

interface Case {
  readonly certificate: Certificate;
  readonly issuers?: readonly Certificate[];
  readonly flags?: readonly string[];
}

/** Undefined when OpenSSL accepts it, else its complaint. */
const complaint = async (
  { certificate, issuers = [], flags = [] }: Case,
  mode: readonly string[] = ['-x509_strict'],
) => {
  const args = [...mode, '-CAfile', await file('root.pem', root.certificate.pem), ...flags];
  if (issuers.length > 0) args.push('-untrusted', await file('issuers.pem', pemChain(...issuers)));
  const leaf = await file('leaf.pem', certificate.pem);
  return openssl('verify', ...args, leaf).then(
    () => undefined,
    (error: { stderr: string }) => /error \d+ at \d+ depth lookup: (.*)/.exec(error.stderr)?.[1],
  );
};

t.test('OpenSSL, in its strict mode, accepts every certificate that we issue', async (t) => {
  const issuers = [siteCa.certificate];
  const device = (await fleet.device('device-1')).certificate;
  t.equal(
    await complaint({ certificate: device, issuers, flags: ['-purpose', 'sslclient'] }),
    undefined,
  );
  const server = (await fleet.gatewayServer('gateway-1')).certificate;
  t.equal(
    await complaint({
      certificate: server,
      issuers,
      flags: ['-purpose', 'sslserver', '-verify_ip', '127.0.0.1'],
    }),
    undefined,
  );
  const gateway = (await fleet.gateway('gateway-1')).certificate;
  t.equal(await complaint({ certificate: gateway, flags: ['-purpose', 'sslclient'] }), undefined);
  const cloud = (await fleet.controlPlane()).certificate;
  const asServer = ['-purpose', 'sslserver', '-verify_hostname', 'localhost'];
  t.equal(await complaint({ certificate: cloud, flags: asServer }), undefined);
});

t.test('OpenSSL and we refuse the same', async (t) => {
  const name = { organization: fleet.fleet, unit: fleet.site };
  const client = new ExtendedKeyUsageExtension([keyUsages.clientAuth]);
  const authority = new BasicConstraintsExtension(true, undefined, true);
  const other = await fleet.otherSite('site-b');
  const { publicKey } = await createKey();
  // Path lengths do not count an authority that has its issuer's name (RFC 5280, 4.2.1.9), so it has another.
  const below = await forge(siteCa, { ...name, commonName: 'CA below' }, [authority]);
  const named = (by: Authority, unit: string) =>
    forge(by, { ...name, unit, commonName: 'device-1' }, [client]);
  const cases: [what: string, Case, openssl: RegExp, ours: RefusalReason][] = [
    [
      'an authority below a site CA',
      {
        certificate: (await named(below, 'site-a')).certificate,
        issuers: [below.certificate, siteCa.certificate],
      },
      /path length constraint exceeded/,
      'chain',
    ],
    [
      'a name of another site',
      { certificate: (await named(siteCa, 'site-b')).certificate, issuers: [siteCa.certificate] },
      /permitted subtree violation/,
      'constraint',
    ],
    [
      'a signature by another CA',
      {
        certificate: (await named({ ...other.siteCa, key: siteCa.key }, 'site-b')).certificate,
        issuers: [other.siteCa.certificate],
      },
      /certificate signature failure/,
      'chain',
    ],
    [
      'one that has expired',
      {
        certificate: await issueDevice(siteCa, publicKey, {
          device: 'device-1',
          now: now - 10_000,
          lifetimeMs: 1_000,
        }),
        issuers: [siteCa.certificate],
      },
      /certificate has expired/,
      'expired',
    ],
  ];
  for (const [what, { certificate, issuers = [] }, openssl, ours] of cases) {
    // Not in strict mode, which would stumble over what a forgery leaves out.
    t.match(await complaint({ certificate, issuers }, []), openssl, what);
    const request = { certificate, intermediates: issuers, root: root.certificate, at: now };
    t.equal(verifyChain({ ...request, role: 'device' }).refused, ours, what);
  }
});

t.test('OpenSSL reads our revocation lists and goes by them', async (t) => {
  const [kept, revoked] = [await fleet.device('kept'), await fleet.device('revoked')];
  const at = { thisUpdate: now, nextUpdate: now + 86_400_000 };
  const ofRoot = await createCrl(root, { ...at, number: 1, revoked: [] });
  const many = Array.from({ length: 300 }, (_, i) => ({ serial: (i + 1).toString(16), at: now }));
  const ofSite = await createCrl(siteCa, {
    ...at,
    number: 70_000,
    revoked: [...many, { serial: revoked.certificate.serial, at: now }],
  });
  const lists = await file('lists.pem', ofRoot + ofSite);
  const text = await openssl('crl', '-noout', '-text', '-in', await file('site.crl', ofSite));
  t.match(text, /Version 2/);
  t.match(text, /CRL Number:\s+70000/);
  t.match(text, /Serial Number: 80\s/, 'a serial number with the highest bit set is not negative');
  const flags = ['-crl_check_all', '-CRLfile', lists];
  const issuers = [siteCa.certificate];
  t.equal(await complaint({ certificate: kept.certificate, issuers, flags }), undefined);
  t.equal(
    await complaint({ certificate: revoked.certificate, issuers, flags }),
    'certificate revoked',
  );
});

for (const [name, algorithm] of [
  ['P-256', ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
  ['RSA-2048', ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
] as const) {
  t.test(`takes a request that OpenSSL made for a ${name} key`, async (t) => {
    const key = join(folder, `${name}.key`);
    await openssl('genpkey', '-algorithm', ...algorithm, '-out', key);
    const request = await openssl('req', '-new', '-key', key, '-subj', '/O=x/CN=device-7');
    const parsed = await parseRequest(request);
    t.equal(parsed.commonName, 'device-7');
    const certificate = await issueDevice(siteCa, parsed.publicKey, { device: 'device-7', now });
    t.equal(await complaint({ certificate, issuers: [siteCa.certificate] }), undefined);
  });
}

t.test('OpenSSL reads our key files', async (t) => {
  const path = join(folder, 'ours.key');
  await writeKeyFile(path, await createKey());
  t.match(await openssl('pkey', '-in', path, '-noout', '-text'), /NIST CURVE: P-256/);
});
