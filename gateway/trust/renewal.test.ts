/** Renewal, the end of what it replaced, and a site CA that runs out (fault 10): over a real store, with the clock in the hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { issueDevice } from '@holdfast/provisioning/pki/issue';
import { createKey, type KeyPair } from '@holdfast/provisioning/pki/keys';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { certificatesOf, registerCertificate } from './certificate-register.js';
import type { KnownDevice } from './decide-enrolment.js';
import { DeviceRenewal } from './device-renewal.js';
import { Revocations } from './revocations.js';
import { Supersession } from './supersession.js';

const dayMs = 86_400_000;
const start = Date.UTC(2026, 0, 1);
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-renewal-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const clock = new ManualClock(start);
  const fleet = await createTestFleet({ now: start });
  const { siteCa } = fleet;
  const site = { read: store.read, commit: (write: Write) => store.commits.commit(write) };
  const revocations = await Revocations.open({ site, clock, log });
  const known = new Map<string, KnownDevice>([['pump', { model: 'pi', lifecycle: 'active' }]]);
  const renewal = new DeviceRenewal({
    ...{ site, clock, siteCa },
    policy: () => sitePolicy(undefined),
    known: (device) => known.get(device),
    requireWritable: () => undefined,
  });
  const enrolled = async (renews: boolean, device = 'pump') => {
    const key = await createKey();
    const lifetimeMs = renews ? 7 * dayMs : 365 * dayMs;
    const at = clock.now();
    const certificate = await issueDevice(siteCa, key.publicKey, { device, now: at, lifetimeMs });
    await site.commit([registerCertificate({ device, certificate, at, renews })]);
    return { certificate, key };
  };
  const request = (key: KeyPair, device = 'pump') =>
    createRequest(key, { organization: fleet.fleet, unit: fleet.site, commonName: device });
  const renew = async (certificate: Certificate, key: KeyPair) =>
    renewal.renew({ device: 'pump', certificate }, await request(key));
  const openSupersession = () => Supersession.open({ site, clock, revocations, log });
  const revoked = async () =>
    (await certificatesOf(store.read, 'pump'))
      .filter(({ revokedAt }) => revokedAt !== null)
      .map(({ serial, revocationReason }) => [serial, revocationReason]);
  return {
    clock,
    fleet,
    known,
    renewal,
    request,
    renew,
    enrolled,
    openSupersession,
    revoked,
    revocations,
    site,
  };
};

t.test(
  'what renews lives 7 days again, what does not a year, each under its own name',
  async (t) => {
    const { clock, enrolled, renew, renewal, request } = await openSite(t);
    const short = await enrolled(true);
    const long = await enrolled(false);
    clock.advance(3 * dayMs);
    const key = await createKey();
    const renewed = await renew(short.certificate, key);
    t.equal(renewed.notAfter, clock.now() + 7 * dayMs);
    t.ok(renewed.publicKey.equals(key.publicKey));
    t.same(renewed.subject, short.certificate.subject);
    t.equal((await renew(short.certificate, key)).serial, renewed.serial, 'the answer was lost');
    t.equal((await renew(long.certificate, key)).notAfter, clock.now() + 365 * dayMs);
    await t.rejects(
      renewal.renew({ device: 'pump', certificate: renewed }, await request(key, 'valve')),
      { code: 'REQUEST_INVALID' },
    );
  },
);

t.test(
  'one that expired gets its device back in for 90 days, then a new code has to',
  async (t) => {
    const { clock, enrolled, renew, known } = await openSite(t);
    const { certificate, key } = await enrolled(true);
    clock.advance(7 * dayMs + 90 * dayMs - 1);
    const late = await renew(certificate, key);
    t.ok(late.notAfter > clock.now());
    clock.advance(2_000);
    await t.rejects(renew(certificate, await createKey()), {
      code: 'CERTIFICATE_EXPIRED',
      message: /holdfast device claim pump/,
    });
    clock.trusted = false;
    await renew(certificate, await createKey());
    known.set('pump', { model: 'pi', lifecycle: 'disabled' });
    await t.rejects(renew(late, key), { code: 'RESOURCE_STATE_WRONG' });
  },
);

t.test(
  'a day after the new one was first used the old one is revoked, over a restart',
  async (t) => {
    const { clock, enrolled, renew, openSupersession, revoked } = await openSite(t);
    const { certificate } = await enrolled(true);
    let supersession = await openSupersession();
    supersession.used(certificate.serial);
    clock.advance(4 * dayMs);
    const renewed = await renew(certificate, await createKey());
    clock.advance(2 * dayMs);
    await supersession.check();
    t.same(await revoked(), [], 'nobody has used the new one');
    supersession.used(renewed.serial);
    await supersession.close();
    supersession = await openSupersession();
    supersession.used(renewed.serial);
    clock.advance(dayMs - 1);
    await supersession.check();
    t.same(await revoked(), [], 'a day is not over');
    clock.advance(1);
    await supersession.check();
    t.same(await revoked(), [[certificate.serial, 'superseded']]);
    await supersession.check();
    t.equal((await revoked()).length, 1);
  },
);

t.test('nothing is dated or revoked by a clock that is not trusted', async (t) => {
  const { clock, enrolled, renew, openSupersession, revoked } = await openSite(t);
  const { certificate } = await enrolled(true);
  clock.advance(4 * dayMs);
  const renewed = await renew(certificate, await createKey());
  const supersession = await openSupersession();
  clock.set(0);
  clock.trusted = false;
  supersession.used(renewed.serial);
  clock.set(start + 400 * dayMs);
  await supersession.check();
  clock.set(start + 5 * dayMs);
  clock.trusted = true;
  await supersession.check();
  t.same(await revoked(), [], 'its day begins when the time is known');
  clock.advance(dayMs);
  await supersession.check();
  t.same(await revoked(), [[certificate.serial, 'superseded']]);
});

t.test('an answer that was lost is given again only while it is worth something', async (t) => {
  const { clock, enrolled, renew } = await openSite(t);
  const { certificate } = await enrolled(true);
  const key = await createKey();
  const lost = await renew(certificate, key);
  clock.advance(3 * dayMs);
  t.equal((await renew(certificate, key)).serial, lost.serial);
  clock.advance(dayMs);
  const given = await renew(certificate, key);
  t.not(given.serial, lost.serial, 'the first would have to be renewed at once');
  t.equal(given.notAfter, clock.now() + 7 * dayMs);
  clock.trusted = false;
  clock.advance(6 * dayMs);
  t.equal((await renew(certificate, key)).serial, given.serial, 'nothing is due in doubt');
});

t.test('two requests for the same key at the same time get one certificate', async (t) => {
  const { enrolled, renew, site } = await openSite(t);
  const { certificate } = await enrolled(true);
  const key = await createKey();
  const [one, other] = await Promise.all([renew(certificate, key), renew(certificate, key)]);
  t.equal(one.serial, other.serial);
  t.equal((await certificatesOf(site.read, 'pump')).length, 2);
});

t.test('the register forgets what was revoked long ago, and refuses it for ever', async (t) => {
  const { clock, enrolled, renew, openSupersession, revocations, site } = await openSite(t);
  const supersession = await openSupersession();
  const { certificate: first } = await enrolled(true);
  clock.advance(4 * dayMs);
  const second = await renew(first, await createKey());
  supersession.used(second.serial);
  await supersession.check();
  clock.advance(2 * dayMs);
  await supersession.check();
  const serials = async () => (await certificatesOf(site.read, 'pump')).map(({ serial }) => serial);
  await supersession.prune();
  t.same(await serials(), [second.serial, first.serial]);
  clock.advance(91 * dayMs);
  clock.trusted = false;
  await supersession.prune();
  t.equal((await serials()).length, 2, 'not by a doubtful clock');
  clock.trusted = true;
  await supersession.prune();
  t.same(await serials(), [second.serial]);
  await revocations.revoke(await certificatesOf(site.read, 'pump'), {
    ...{ reason: 'cessation_of_operation', actor: 'site:ann' },
  });
  clock.advance(91 * dayMs);
  await supersession.prune();
  t.same(await serials(), [second.serial], 'the newest tells how it ended');
  const { authorityKeyId = '' } = first.extensions;
  t.ok(revocations.isRevoked(authorityKeyId, first.serial));
  await t.rejects(renew(first, await createKey()));
});

t.test('a device that asks again and again is told to wait', async (t) => {
  const { clock, enrolled, renew } = await openSite(t);
  const { certificate } = await enrolled(true);
  for (let given = 1; given < 50; given += 1) await renew(certificate, await createKey());
  const key = await createKey();
  await t.rejects(renew(certificate, key), {
    code: 'TOO_MANY_ATTEMPTS',
    data: { retryAfterMs: 7 * 864_000 },
  });
  clock.advance(3.5 * dayMs);
  t.ok(await renew(certificate, key), 'and gets one when it needs it');
});

t.test('a certificate that was revoked while it asked gets its device no other', async (t) => {
  const { enrolled, renew, revocations, site } = await openSite(t);
  const { certificate } = await enrolled(true);
  const has = await certificatesOf(site.read, 'pump');
  await revocations.revoke(has, { reason: 'key_compromise', actor: 'site:ann' });
  // The door let it in before.
  await t.rejects(renew(certificate, await createKey()), { code: 'PEER_REFUSED' });
  t.equal((await certificatesOf(site.read, 'pump')).length, 1);
});

t.test(
  'one issued by a clock that was a year ahead supersedes nothing that came later',
  async (t) => {
    const { clock, enrolled, renew, openSupersession, revoked } = await openSite(t);
    clock.set(start + 365 * dayMs - dayMs);
    clock.trusted = false;
    const { certificate: wild } = await enrolled(true);
    clock.set(start);
    clock.trusted = true;
    const supersession = await openSupersession();
    supersession.used(wild.serial);
    const renewed = await renew(wild, await createKey());
    clock.advance(dayMs + 1);
    await supersession.check();
    t.same(await revoked(), [], 'the newest stays, though its date is before that of the other');
    supersession.used(renewed.serial);
    await supersession.check();
    clock.advance(dayMs + 1);
    await supersession.check();
    t.same(await revoked(), [[wild.serial, 'superseded']]);
  },
);

t.test('an expired site CA certifies nobody until it is renewed', async (t) => {
  const { clock, enrolled, renew } = await openSite(t);
  const { certificate, key } = await enrolled(false);
  clock.advance(365 * dayMs + 1_000);
  await t.rejects(renew(certificate, key), { code: 'SITE_CA_EXPIRED' });
});

t.test('the order in which certificates were issued goes by no clock', async (t) => {
  const { clock, enrolled, renew, openSupersession, revoked } = await openSite(t);
  const { certificate: first } = await enrolled(true);
  clock.advance(4 * dayMs);
  const second = await renew(first, await createKey());
  const supersession = await openSupersession();
  supersession.used(second.serial);
  await supersession.check();
  // The gateway has lost its time: what it issues now is dated before what it issued last.
  clock.set(start + 3 * dayMs);
  clock.trusted = false;
  const third = await renew(second, await createKey());
  clock.set(start + 6 * dayMs);
  clock.trusted = true;
  supersession.used(third.serial);
  await supersession.check();
  t.same(await revoked(), [[first.serial, 'superseded']], 'and not the one that is in use');
});
