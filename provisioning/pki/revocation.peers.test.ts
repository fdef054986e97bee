/** OpenSSL's and mbedTLS's opinion of the whole chain with its revocation lists, and ours of the same. */
import 'reflect-metadata';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BasicConstraintsExtension, ExtendedKeyUsageExtension } from '@peculiar/x509';
import t from 'tap';
import { type Certificate, pemChain } from './certificate.js';
import { createCrl, type RevokedCertificate } from './crl.js';
import type { Authority } from './issue.js';
import { keyUsages } from './oids.js';
import type { RefusalReason } from './refusal.js';
import { createTestFleet, forge } from './test-fleet.js';
import { verifyChain } from './verify.js';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'holdfast-revocation-'));
t.teardown(() => rm(folder, { recursive: true }));
const file = async (name: string, text: string): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};
const mbedtls = join(folder, 'verify-with-mbedtls');
const source = new URL('../../pki/peers/verify-with-mbedtls.c', import.meta.url);
await run('gcc', ['-Wall', '-o', mbedtls, fileURLToPath(source), '-lmbedx509', '-lmbedcrypto']);

const fleet = await createTestFleet();
const { now, root, siteCa } = fleet;
const other = await fleet.otherSite('site-b');
const dayMs = 86_400_000;

interface Lists {
  readonly byRoot?: readonly RevokedCertificate[];
  readonly bySite?: readonly RevokedCertificate[];
  readonly nextUpdate?: number;
}

const listsOf = async ({ byRoot = [], bySite = [], nextUpdate = now + dayMs }: Lists) => {
  const content = { number: 1, thisUpdate: now - dayMs, nextUpdate };
  const lists = [
    await createCrl(root, { ...content, revoked: byRoot }),
    await createCrl(siteCa, { ...content, revoked: bySite }),
    await createCrl(other.siteCa, { ...content, revoked: [] }),
  ];
  return lists.join('');
};

interface Opinions {
  readonly openssl: string | undefined;
  readonly mbedtls: string | undefined;
  readonly ours: RefusalReason | undefined;
}

const opinionsOf = async (
  certificate: Certificate,
  issuers: readonly Certificate[],
  lists: Lists = {},
): Promise<Opinions> => {
  const crls = await file('lists.pem', await listsOf(lists));
  const anchor = await file('root.pem', root.certificate.pem);
  const untrusted = await file('issuers.pem', pemChain(...issuers));
  const leaf = await file('leaf.pem', certificate.pem);
  const chain = await file('chain.pem', pemChain(certificate, ...issuers));
  const verify = ['verify', '-crl_check_all', '-CRLfile', crls, '-CAfile', anchor];
  const revoked = new Map([
    [root.certificate.extensions.subjectKeyId, lists.byRoot],
    [siteCa.certificate.extensions.subjectKeyId, lists.bySite],
  ]);
  return {
    openssl: await run('openssl', [...verify, '-untrusted', untrusted, leaf]).then(
      () => undefined,
      ({ stderr }: { stderr: string }) => /lookup: (.*)/.exec(stderr)?.[1] ?? stderr,
    ),
    mbedtls: await run(mbedtls, [anchor, chain, crls]).then(
      () => undefined,
      ({ stdout }: { stdout: string }) => stdout,
    ),
    ours: verifyChain({
      certificate,
      intermediates: issuers,
      root: root.certificate,
      role: 'device',
      at: now,
      isRevoked: (issuer, serial) =>
        revoked.get(issuer)?.some((one) => one.serial === serial) ?? false,
    }).refused,
  };
};

const accepted: Opinions = { openssl: undefined, mbedtls: undefined, ours: undefined };
const ca = siteCa.certificate;
const device = (await fleet.device('device-1')).certificate;
const revocationOf = ({ serial }: Certificate): RevokedCertificate => ({
  serial,
  at: now,
  reason: 'key_compromise',
});

t.test('all three accept a device that nobody revoked', async (t) => {
  const another = (await fleet.device('device-2')).certificate;
  t.same(await opinionsOf(device, [ca]), accepted);
  t.same(await opinionsOf(device, [ca], { bySite: [revocationOf(another)] }), accepted);
  const ofOther = (await other.device('device-1')).certificate;
  t.same(await opinionsOf(ofOther, [other.siteCa.certificate]), accepted, 'at its own site');
});

t.test('all three refuse what a list names, the site CA among it', async (t) => {
  t.match(await opinionsOf(device, [ca], { bySite: [revocationOf(device)] }), {
    openssl: 'certificate revoked',
    mbedtls: /revoked/,
    ours: 'revoked',
  });
  t.match(await opinionsOf(device, [ca], { byRoot: [revocationOf(ca)] }), {
    openssl: 'certificate revoked',
    mbedtls: /revoked/,
    ours: 'revoked',
  });
  const sameSerial = { byRoot: [revocationOf(device)] };
  t.same(await opinionsOf(device, [ca], sameSerial), accepted, 'a serial number is its issuer’s');
});

t.test('a site CA that signs for another site is stopped', async (t) => {
  const subject = { organization: fleet.fleet, unit: 'site-b', commonName: 'device-1' };
  const client = new ExtendedKeyUsageExtension([keyUsages.clientAuth]);
  const named = (by: Authority) => forge(by, subject, [client]);
  const { certificate } = await named(siteCa);
  const opinions = await opinionsOf(certificate, [ca]);
  t.match(opinions, { openssl: 'permitted subtree violation', ours: 'constraint' });
  // mbedTLS 2.28 and 3 know no constraints on names: who builds on it alone has to look at the unit of the subject.
  t.equal(opinions.mbedtls, undefined);

  const borrowed = { ...other.siteCa, key: siteCa.key };
  const { certificate: under } = await named(borrowed);
  t.match(await opinionsOf(under, [other.siteCa.certificate]), {
    openssl: 'certificate signature failure',
    mbedtls: /not correctly signed/,
    ours: 'chain',
  });
});

t.test('an authority below a site CA is none', async (t) => {
  const name = { organization: fleet.fleet, unit: fleet.site };
  const authority = new BasicConstraintsExtension(true, undefined, true);
  const below = await forge(siteCa, { ...name, commonName: 'CA below' }, [authority]);
  const client = new ExtendedKeyUsageExtension([keyUsages.clientAuth]);
  const { certificate } = await forge(below, { ...name, commonName: 'device-1' }, [client]);
  t.match(await opinionsOf(certificate, [below.certificate, ca]), {
    openssl: /path length constraint exceeded|unable to get certificate CRL/,
    mbedtls: /./,
    ours: 'chain',
  });
});

t.test(
  'they look at the dates of a list; we go by what is revoked, whenever it was signed',
  async (t) => {
    t.match(await opinionsOf(device, [ca], { nextUpdate: now - 1_000 }), {
      openssl: 'CRL has expired',
      mbedtls: /CRL is expired/,
      ours: undefined,
    });
  },
);
