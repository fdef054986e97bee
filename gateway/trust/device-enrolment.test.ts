import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ManufacturersBody } from '@holdfast/protos/link/plan-documents';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import type { EnrolmentRequest } from '@holdfast/protos/local/enrolment';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { createSecret, hashClaim } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { issueRoot, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import { createKey } from '@holdfast/provisioning/pki/keys';
import { createTestManufacturer } from '@holdfast/provisioning/pki/test-manufacturer';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { newDevice } from '../devices/device.js';
import { writeDevice } from '../devices/device-rows.js';
import { siteMigrations } from '../store/site-migrations.js';
import type { KnownDevice } from './decide-enrolment.js';
import { DeviceEnrolment } from './device-enrolment.js';
import { Manufacturers } from './manufacturers.js';
import { Revocations } from './revocations.js';
import { SiteClaims } from './site-claims.js';

const start = Date.UTC(2026, 0, 1);
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-enrolment-'));
  const path = join(folder, 'site.db');
  const store = await openStore({ path, migrations: siteMigrations, log: silent });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const clock = new ManualClock(start);
  const rootKey = await createKey();
  const root = await issueRoot(rootKey, { fleet: 'fleet', now: start });
  const siteCaKey = await createKey();
  const siteCa = await issueSiteCa({ certificate: root, key: rootKey }, siteCaKey.publicKey, {
    site: 'farm',
    now: start,
  });
  const planned = createSecret();
  const codes = [
    {
      hash: hashClaim(planned, 'farm'),
      device_id: 'pump',
      model: null,
      expires_at: start + 86_400_000,
    },
  ];
  const site = {
    read: store.read,
    commit: (write: Write) => store.commits.commit(write),
  };
  const known = new Map<string, KnownDevice>();
  const claims = new SiteClaims({ store: site, clock, planned: () => codes, site: 'farm' });
  const revocations = await Revocations.open({ site, clock, log: silent });
  const manufacturers: ManufacturersBody['manufacturers'] = [];
  const enrolment = new DeviceEnrolment(
    {
      site,
      clock,
      siteCa: { certificate: siteCa, key: siteCaKey },
      root,
      claims,
      manufacturers: new Manufacturers({
        clock,
        planned: () => manufacturers,
        isRevoked: revocations.isRevoked,
      }),
      revocations,
      admit: ({ device }, at) => [writeDevice(newDevice(device, 'native', at))],
      admitted: ({ device, model }) => known.set(device, { model, lifecycle: 'provisioning' }),
      known: (device) => known.get(device),
      lifetimes: () => sitePolicy(undefined).deviceCertificates,
      requireWritable: () => undefined,
      ports: () => ({ mqtts: 8883, https: 8443 }),
    },
    { fleet: 'fleet', site: 'farm' },
  );
  const makeClaim = async (
    device: string | null,
    lifetimeMs: number,
    model: string | null = null,
  ): Promise<string> => {
    const [made] = await claims.make([{ device, model, lifetimeMs }]);
    return made?.secret ?? '';
  };
  return {
    ...{ store, clock, root, siteCa, planned, enrolment, claims, makeClaim },
    ...{ known, codes, manufacturers, revocations },
  };
};

const requestWith = async (secret: string, more: Partial<EnrolmentRequest> = {}) => {
  const der = await createRequest(await createKey(), { commonName: 'whatever it says' });
  const body = Buffer.from(der).toString('base64');
  const csr = `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;
  return { secret, csr, model: 'pi', ...more };
};

t.test('gives a device of the code a certificate that verifies for it and its site', async (t) => {
  const { enrolment, planned, root, siteCa, store } = await openSite(t);
  const answer = await enrolment.enrol(await requestWith(planned), '10.0.0.1');
  t.equal(answer.device_id, 'pump');
  const verdict = verifyChain({
    certificate: Buffer.from(answer.certificate.replace(/-----[^-]+-----|\s/g, ''), 'base64'),
    intermediates: [siteCa],
    root,
    role: 'device',
    site: 'farm',
    at: start,
  });
  t.match(verdict, { identity: { fleet: 'fleet', site: 'farm', name: 'pump' } });
  const entries = await store.read.all<{ kind: string; body: string }>(
    'SELECT kind, body FROM journal_audit',
  );
  t.equal(entries.length, 1);
  t.match(JSON.parse(entries[0]?.body ?? ''), { device: 'pump', model: 'pi' });
});

t.test('answers the same again to the same key, and nobody else', async (t) => {
  const { enrolment, planned, store } = await openSite(t);
  const request = await requestWith(planned);
  const [first, second] = await Promise.all([
    enrolment.enrol(request, '10.0.0.1'),
    enrolment.enrol(request, '10.0.0.1'),
  ]);
  t.same(second, first, 'also when both came at once');
  t.same(await enrolment.enrol(request, '10.0.0.1'), first);
  await t.rejects(enrolment.enrol(await requestWith(planned), '10.0.0.1'), { code: 'CLAIM_USED' });
  const { n } = (await store.read.get<{ n: number }>('SELECT count(*) n FROM journal_audit')) ?? {};
  t.equal(n, 1, 'and it is told once');
});

t.test('takes a code made on site, once, and only while it lasts', async (t) => {
  const { enrolment, clock, makeClaim } = await openSite(t);
  const claim = await makeClaim(null, 60_000);
  await t.rejects(enrolment.enrol(await requestWith(claim), 'a'), /--id ID/);
  const request = await requestWith(claim, { device_id: 'valve' });
  t.equal((await enrolment.enrol(request, 'a')).device_id, 'valve');

  const other = await makeClaim(null, 60_000);
  await t.rejects(
    enrolment.enrol(await requestWith(other, { device_id: 'valve' }), 'a'),
    { code: 'RESOURCE_EXISTS' },
    'a name that is in use is not given away',
  );
  clock.advance(60_001);
  await t.rejects(enrolment.enrol(await requestWith(other, { device_id: 'tap' }), 'a'), {
    code: 'CLAIM_EXPIRED',
  });
});

t.test('gives one id to one device, also when two ask for it at the same moment', async (t) => {
  const { enrolment, store, makeClaim } = await openSite(t);
  const requests = await Promise.all(
    [1, 2].map(async () => {
      const secret = await makeClaim(null, 60_000);
      return requestWith(secret, { device_id: 'valve' });
    }),
  );
  const answers = await Promise.allSettled(
    requests.map((request) => enrolment.enrol(request, 'a')),
  );
  t.same(answers.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  t.match(
    answers.find(({ status }) => status === 'rejected'),
    { reason: { code: 'RESOURCE_EXISTS' } },
  );
  const { n } =
    (await store.read.get<{ n: number }>('SELECT count(*) n FROM device_certificates')) ?? {};
  t.equal(n, 1);
});

t.test('refuses ids and keys that are none, and says what to do', async (t) => {
  const { enrolment, planned, makeClaim } = await openSite(t);
  await t.rejects(enrolment.enrol(await requestWith(createSecret()), 'a'), {
    code: 'CLAIM_UNKNOWN',
  });
  await t.rejects(enrolment.enrol({ ...(await requestWith(planned)), csr: 'none' }, 'a'), {
    code: 'CERTIFICATE_REQUEST_INVALID',
  });
  await t.rejects(enrolment.enrol(await requestWith(planned, { device_id: 'valve' }), 'a'), /pump/);
  await t.rejects(makeClaim('a/b', 1), /no device id/);
});

t.test('slows down who guesses, and nobody beside it', async (t) => {
  const { enrolment, planned, clock, makeClaim } = await openSite(t);
  const guess = async () => enrolment.enrol(await requestWith(createSecret()), 'nat');
  for (let attempt = 0; attempt < 10; attempt += 1) {
    await t.rejects(guess(), { code: 'CLAIM_UNKNOWN' });
  }
  await t.rejects(guess(), { code: 'TOO_MANY_ATTEMPTS', data: { retryAfterMs: 6_000 } });
  const good = await enrolment.enrol(await requestWith(planned), 'nat');
  t.equal(good.device_id, 'pump', 'a good code comes through from behind the same address');
  clock.advance(6_000);
  await t.rejects(guess(), { code: 'CLAIM_UNKNOWN' });

  const valve = await requestWith(await makeClaim('valve', 60_000));
  const flood = { ...valve, secret: createSecret() };
  const results = new Set<string>();
  for (let attempt = 0; attempt < 100; attempt += 1) {
    await enrolment.enrol(flood, 'nat').catch(({ code }) => results.add(code));
  }
  t.same([...results], ['TOO_MANY_ATTEMPTS']);
  await t.rejects(enrolment.enrol(valve, 'nat'), { code: 'TOO_MANY_ATTEMPTS' }, 'nor looked at');
  t.equal(await enrolment.enrol(flood, 'other').catch(({ code }) => code), 'CLAIM_UNKNOWN');
  clock.advance(200);
  t.equal((await enrolment.enrol(valve, 'nat')).device_id, 'valve', 'a moment later again');
});

const chainOf = (cert: string): Uint8Array[] =>
  (cert.match(/-----BEGIN CERTIFICATE-----[^-]+/g) ?? []).map((block) =>
    Buffer.from(block.replace(/-----[^-]+-----/, ''), 'base64'),
  );

t.test(
  'enrols one device by a certificate of its manufacturer, whoever comes at once',
  async (t) => {
    const { enrolment, manufacturers, store, known } = await openSite(t);
    const acme = await createTestManufacturer({ now: start });
    const presented = chainOf((await acme.device({ commonName: 'acme-1' })).tls.cert);
    const { secret: _none, ...wish } = await requestWith('', { model: 'm1' });
    const { secret: _noneEither, ...other } = await requestWith('', { model: 'm1' });
    await t.rejects(enrolment.enrol(wish, 'a'), { code: 'NOT_AUTHENTICATED' });
    await t.rejects(enrolment.enrol(wish, 'a', presented), /knows no manufacturers/);
    manufacturers.push({
      id: 'acme',
      certificates: [acme.pem],
      id_prefix: 'acme-',
      models: ['m1'],
    });
    const answers = await Promise.allSettled([
      enrolment.enrol(wish, 'a', presented),
      enrolment.enrol(other, 'b', presented),
      enrolment.enrol(wish, 'a', presented),
    ]);
    const [first, second, again] = answers;
    const [won, lost] = first.status === 'fulfilled' ? [first, second] : [second, first];
    t.match(won, { status: 'fulfilled', value: { device_id: 'acme-1' } });
    t.match(lost, { status: 'rejected', reason: { code: 'RESOURCE_EXISTS' } });
    t.same({ ...again, reason: null }, { ...first, reason: null }, 'the answer may have been lost');
    const [entry] = await store.read.all<{ body: string }>('SELECT body FROM journal_audit');
    t.match(JSON.parse(entry?.body ?? ''), { manufacturer: 'acme', claim_hash: null });

    known.delete('acme-1');
    await store.commits.commit([{ sql: "DELETE FROM devices WHERE device = 'acme-1'" }]);
    const anew = await enrolment.enrol(other, 'b', presented);
    t.equal(
      anew.device_id,
      'acme-1',
      'once the device is gone, it may come again with another key',
    );
  },
);

t.test('a code for a device in use revokes what its predecessor holds', async (t) => {
  const { enrolment, makeClaim, planned, revocations, store } = await openSite(t);
  const before = await enrolment.enrol(await requestWith(planned), 'a');
  const cut: string[] = [];
  revocations.onRevoked((revoked) => cut.push(...revoked.map(({ serial }) => serial)));
  const after = await enrolment.enrol(await requestWith(await makeClaim('pump', 60_000)), 'a');
  t.same(cut, [parseCertificate(before.certificate).serial]);
  const { serial, extensions } = parseCertificate(after.certificate);
  t.notOk(revocations.isRevoked(extensions.authorityKeyId ?? '', serial));
  const kinds = await store.read.all<{ kind: string }>('SELECT kind FROM journal_audit');
  t.same(kinds.map(({ kind }) => kind).sort(), [
    'certificate_revoked',
    'device_enrolled',
    'device_enrolled',
  ]);
});

t.test('of two codes for one device that are used at once, one certificate holds', async (t) => {
  const { enrolment, makeClaim, revocations } = await openSite(t);
  const codes = await Promise.all([makeClaim('pump', 60_000), makeClaim('pump', 60_000)]);
  const requests = await Promise.all(codes.map((code) => requestWith(code)));
  const answers = await Promise.all(requests.map((request) => enrolment.enrol(request, 'a')));
  const holding = answers
    .map(({ certificate }) => parseCertificate(certificate))
    .filter(
      ({ serial, extensions }) => !revocations.isRevoked(extensions.authorityKeyId ?? '', serial),
    );
  t.equal(holding.length, 1);
});

t.test(
  'a code made on site may be for one model, is shown until it is used, and then forgotten',
  async (t) => {
    const { enrolment, claims, clock, makeClaim, store } = await openSite(t);
    const secret = await makeClaim(null, 60_000, 'm1');
    t.match(await claims.open(), [{ device: null, model: 'm1', expiresAt: start + 60_000 }]);
    const request = await requestWith(secret, { device_id: 'tap', model: 'm2' });
    await t.rejects(enrolment.enrol(request, 'a'), /model m1 alone/);
    await enrolment.enrol({ ...request, model: 'm1' }, 'a');
    t.same(await claims.open(), []);

    await makeClaim('tap', 60_000);
    clock.advance(60_001);
    t.same(await claims.open(), [], 'an expired one is open no more');
    await claims.prune();
    const rows = () => store.read.all('SELECT hash FROM claims_made');
    t.equal((await rows()).length, 1, 'and is told from an unknown one for a week');
    clock.advance(7 * 86_400_000);
    await claims.prune();
    t.same(await rows(), []);
  },
);
