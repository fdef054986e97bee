/** What was made while the clock was a year ahead, once it is right again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { Revocations } from './revocations.js';
import { ServerCertificate } from './server-certificate.js';
import { SiteCrl } from './site-crl.js';

const start = Date.UTC(2026, 0, 1);
const yearMs = 365 * 86_400_000;
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const fleet = await createTestFleet({ now: start });
const { siteCa } = fleet;

t.test('the certificate of the server is made anew', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-lost-time-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const clock = new ManualClock(start + yearMs);
  clock.trusted = false;
  const server = await ServerCertificate.open(
    { siteCa, root: fleet.root.certificate, clock, log, hosts: () => ['localhost'] },
    { dataDirectory: folder, gatewayId: 'gateway-1' },
  );
  const begins = () => parseCertificate(server.credentials.cert).notBefore;
  t.ok(begins() > start);
  clock.set(start);
  clock.trusted = true;
  await server.refresh();
  t.ok(begins() <= start);
});

t.test('the revocation list is signed anew, at once where the disk had no room', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-lost-time-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const clock = new ManualClock(start + yearMs);
  let isFull = false;
  const commit = async (write: Write): Promise<void> => {
    if (isFull) throw new Error('full');
    await store.commits.commit(write);
  };
  const site = { read: store.read, commit };
  const revocations = await Revocations.open({
    site: { ...site, commit: async () => undefined },
    clock,
    log,
  });
  const crl = await SiteCrl.open({ site, siteCa: () => siteCa, revocations, clock, log });
  t.notOk(crl.isDue);
  clock.set(start);
  t.ok(crl.isDue, 'it is of a day that has not come');
  const { number } = crl.current;
  await crl.sign();
  t.ok(crl.current.number > number);
  t.equal(crl.current.thisUpdate, start);
  t.notOk(crl.isDue);
  isFull = true;
  const issuerKeyId = siteCa.certificate.extensions.subjectKeyId ?? '';
  const one = { issuerKeyId, serial: '01', device: null, expiresAt: null };
  await revocations.revoke([one], { reason: 'unspecified', actor: 'site:ann' });
  await crl.close();
  isFull = false;
  t.ok(crl.isDue, 'it does not name the one that was revoked');
  await crl.sign();
  t.notOk(crl.isDue);
});
