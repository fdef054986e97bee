/** Clients that nobody here wrote: strongSwan's pki, and curl with openssl, enrol at the real program and renew. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import t from 'tap';
import { openSiteUnderTest } from '../../trust/site-under-test.js';

const run = promisify(execFile);
const site = await openSiteUnderTest();
const folder = await mkdtemp(join(tmpdir(), 'holdfast-est-'));
t.teardown(async () => {
  await site.close();
  await rm(folder, { recursive: true });
});
const at = (name: string) => join(folder, name);
const root = at('root.pem');
await writeFile(root, site.fleet.root.certificate.pem);
// Its openssl plugin knows no critical name constraints; the x509 plugin is to parse certificates.
const configuration = at('strongswan.conf');
const plugins =
  'random nonce x509 pem pkcs1 pkcs7 pkcs8 pubkey revocation constraints sha1 sha2 aes gcm hmac kdf gmp openssl';
await writeFile(configuration, `pki {\n  load = ${plugins}\n}\n`);

const pki = (...args: string[]) =>
  run('pki', args, {
    env: { ...process.env, STRONGSWAN_CONF: configuration },
    timeout: 60_000,
    encoding: 'buffer',
    maxBuffer: 1024 * 1024,
  });
const url = () => `https://localhost:${site.port('https')}`;
const name = (device: string) => `O=${site.fleet.fleet}, OU=${site.fleet.site}, CN=${device}`;
const codeFor = async (device: string): Promise<string> => {
  const { body } = await site.ask('POST', '/api/v1/claims', { device_id: device });
  return String(body.code);
};
const dayMs = 86_400_000;
const lifeDays = ({ notBefore, notAfter }: Certificate) =>
  Math.round((notAfter - notBefore) / dayMs);
const checked = (t: Tap, pem: string, device: string): Certificate => {
  const certificate = parseCertificate(pem);
  const verdict = verifyChain({
    certificate,
    intermediates: [site.fleet.siteCa.certificate],
    root: site.fleet.root.certificate,
    role: 'device',
    at: Date.now(),
    site: site.fleet.site,
  });
  t.match(verdict, { identity: { name: device } });
  return certificate;
};
type Tap = Pick<typeof t, 'match'>;

for (const [kind, size] of [
  ['ecdsa', '256'],
  ['rsa', '2048'],
] as const) {
  t.test(`strongSwan's pki enrols by a code and renews by its certificate: ${kind}`, async (t) => {
    const device = `pump-${kind}`;
    const [key, csr, cert] = [at(`${kind}.key`), at(`${kind}.csr`), at(`${kind}.pem`)];
    const made = await pki('--gen', '--type', kind, '--size', size, '--outform', 'pem');
    await writeFile(key, made.stdout);
    const request = async (dn: string) => {
      const { stdout } = await pki(
        '--req',
        '--in',
        key,
        '--type',
        kind,
        '--dn',
        dn,
        '--outform',
        'pem',
      );
      await writeFile(csr, stdout);
    };
    const out = at(`${kind}-ca.pem`);
    await pki(
      '--estca',
      '--url',
      url(),
      '--cacert',
      root,
      '--caout',
      out,
      '--outform',
      'pem',
      '--force',
    );
    t.equal(
      parseCertificate(await readFile(out, 'utf8')).sha256,
      site.fleet.root.certificate.sha256,
    );

    await request(`CN=${device}`);
    const userpass = `${device}:${await codeFor(device)}`;
    const trust = ['--url', url(), '--cacert', root, '--in', csr, '--outform', 'pem'];
    const enrolled = await pki('--est', ...trust, '--userpass', userpass);
    const first = checked(t, enrolled.stdout.toString(), device);
    t.equal(lifeDays(first), 365, 'it has not said that it renews by itself');
    await writeFile(cert, enrolled.stdout);

    await request(name(device));
    const renewed = await pki('--est', ...trust, '--cert', cert, '--key', key);
    const second = checked(t, renewed.stdout.toString(), device);
    t.not(second.serial, first.serial);
  });
}

t.test(
  'curl and openssl enrol and renew, with the label of those that renew by themselves',
  async (t) => {
    const device = 'valve';
    const [key, csr, cert] = [at('valve.key'), at('valve.csr'), at('valve.pem')];
    await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key]);
    const request = (subject: string) =>
      run('openssl', ['req', '-new', '-key', key, '-subj', subject, '-out', csr]);
    const base64 = async (): Promise<string> => {
      await run('openssl', ['req', '-in', csr, '-outform', 'DER', '-out', at('valve.der')]);
      await run('openssl', ['base64', '-in', at('valve.der'), '-out', at('valve.b64')]);
      return at('valve.b64');
    };
    const curl = async (path: string, ...args: string[]) => {
      const { stdout } = await run('curl', [
        ...['--silent', '--show-error', '--cacert', root, '--write-out', '\n%{http_code}'],
        ...args,
        `${url()}/.well-known/est/${path}`,
      ]);
      const end = stdout.lastIndexOf('\n');
      return { body: stdout.slice(0, end), status: Number(stdout.slice(end + 1)) };
    };
    const certificatesOf = async (body: string): Promise<string> => {
      await writeFile(at('answer.b64'), body);
      await run('openssl', [
        'base64',
        '-d',
        '-A',
        '-in',
        at('answer.b64'),
        '-out',
        at('answer.p7'),
      ]);
      const { stdout } = await run('openssl', [
        ...['pkcs7', '-inform', 'DER', '-in', at('answer.p7'), '-print_certs'],
      ]);
      return stdout;
    };
    const cas = await certificatesOf((await curl('cacerts')).body);
    t.match(cas, site.fleet.siteCa.certificate.pem.trim());
    t.match(cas, site.fleet.root.certificate.pem.trim());
    t.equal((await curl('csrattrs')).status, 204);

    await request(`/CN=${device}`);
    const post = async () => [
      ...['--header', 'content-type: application/pkcs10', '--data-binary', `@${await base64()}`],
    ];
    t.equal((await curl('simpleenroll', ...(await post()))).status, 401);
    t.equal((await curl('simplereenroll', ...(await post()))).status, 401);
    t.equal(
      (await curl('simpleenroll', ...(await post()), '--user', `${device}:wrong`)).status,
      401,
    );
    const user = `${device}:${await codeFor(device)}`;
    const enrolled = await curl('renewing/simpleenroll', ...(await post()), '--user', user);
    t.equal(enrolled.status, 200);
    t.notMatch(enrolled.body, '\n', 'unwrapped');
    await writeFile(cert, await certificatesOf(enrolled.body));
    const first = checked(t, await readFile(cert, 'utf8'), device);
    t.equal(lifeDays(first), 7);

    const mine = ['--cert', cert, '--key', key];
    t.equal(
      (await curl('simplereenroll', ...(await post()), ...mine)).status,
      400,
      'a renewal names exactly what the certificate names',
    );
    await request(`/O=${site.fleet.fleet}/OU=${site.fleet.site}/CN=${device}`);
    const renewed = await curl('simplereenroll', ...(await post()), ...mine);
    t.equal(renewed.status, 200);
    const second = checked(t, await certificatesOf(renewed.body), device);
    t.equal(lifeDays(second), 7, 'who renews by itself goes on doing so');
    const again = await curl('simplereenroll', ...(await post()), ...mine);
    t.equal(
      checked(t, await certificatesOf(again.body), device).serial,
      second.serial,
      'asked again after a lost answer',
    );
    const entries = await site.read<{ body: string }>(
      `SELECT body FROM journal_audit WHERE kind = 'certificate_issued'`,
    );
    const told = entries.map(
      ({ body }) => JSON.parse(body) as { serial: string; replaces: string },
    );
    t.match(told.at(-1), { serial: second.serial, replaces: first.serial });
  },
);
