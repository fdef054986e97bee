import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import type { PlanView } from '../link/plan-view.js';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { RevocationAge } from './revocation-age.js';
import { Revocations } from './revocations.js';
import { SiteCrl } from './site-crl.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const dayMs = 86_400_000;
const start = Date.UTC(2026, 0, 1);

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'revocation-age-'));
  const path = join(folder, 'site.db');
  const store = await openStore({ path, migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const lane = { appended: () => undefined };
  const lanes = { audit: lane, state: lane };
  return siteStore({ store, outbox: { kick: () => undefined }, lanes });
};

t.test('knowledge of what is revoked ages while nobody is heard, across starts too', async (t) => {
  const site = await openSite(t);
  const clock = new ManualClock(start);
  let plan: PlanView | undefined;
  const policy = () =>
    sitePolicy({ stale_revocations: { after_ms: 10 * dayMs, stops: ['enrolment'] } });
  const deps = { site, clock, policy, plan: { current: () => plan } };
  const age = await RevocationAge.open(deps);
  t.match(age.status(), { asOf: null, ageMs: null, isStale: false }, 'before the first plan');
  // Nothing but the time of its head is looked at.
  plan = { head: { issued_at: start - dayMs } } as PlanView;
  t.equal(age.status().ageMs, dayMs);
  let connected = true;
  age.watch(() => ({ connected, lastContact: clock.now() }));
  clock.advance(30 * dayMs);
  t.equal(age.status().ageMs, 0, 'a plan that is newer would be here');
  await age.note();
  connected = false;
  const next = await RevocationAge.open(deps);
  next.watch(() => ({ connected, lastContact: null }));
  clock.advance(10 * dayMs);
  t.match(next.status(), { ageMs: 10 * dayMs, isStale: false });
  t.doesNotThrow(() => next.check('enrolment'));
  clock.advance(1);
  t.match(next.status(), { isStale: true, stops: ['enrolment'] });
  t.throws(() => next.check('enrolment'), { code: 'REVOCATIONS_STALE' });
  t.doesNotThrow(() => next.check('renewal'), 'the policy stops what it says and nothing else');
  clock.trusted = false;
  t.match(next.status(), { ageMs: null, isStale: false }, 'nothing ages by a clock in doubt');
});

t.test('the list is signed again when it is due, and its number never goes back', async (t) => {
  const fleet = await createTestFleet({ now: start });
  const site = await openSite(t);
  const clock = new ManualClock(start);
  const revocations = await Revocations.open({ site, clock, log });
  const deps = { site, clock, log, revocations, siteCa: () => fleet.siteCa };
  const crl = await SiteCrl.open(deps);
  const { number, nextUpdate } = crl.current;
  t.ok(nextUpdate > start + dayMs, 'it outlives the day after which it is signed again');
  const issuerKeyId = fleet.siteCa.certificate.extensions.subjectKeyId ?? '';
  const one = (serial: string) => ({ issuerKeyId, serial, device: 'd', expiresAt: null });
  const by = { reason: 'key_compromise', actor: 'site:ann' } as const;
  t.equal((await revocations.revoke([one('ab'), one('ac')], by)).length, 2);
  t.equal((await revocations.revoke([one('ab')], by)).length, 0, 'it is revoked once');
  await crl.close();
  t.ok(crl.current.number > number);
  clock.set(0);
  clock.trusted = false;
  const { thisUpdate } = crl.current;
  await crl.sign();
  const last = crl.current;
  t.ok(last.thisUpdate >= thisUpdate, 'a clock that has lost its time makes no list of the past');
  const again = await SiteCrl.open(deps);
  t.ok(again.current.number > last.number);
});
