import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceBody } from '@holdfast/protos/link/plan-documents';
import { issueDevice } from '@holdfast/provisioning/pki/issue';
import { createKey } from '@holdfast/provisioning/pki/keys';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { flashWrite } from '../doors/serial/flash/flash-rows.js';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { registerCertificate } from '../trust/certificate-register.js';
import { Revocations } from '../trust/revocations.js';
import { openDevices } from './devices.js';
import { Lifecycles, type Unserved } from './lifecycles.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const dayMs = 86_400_000;
const weekMs = 7 * dayMs;
const start = Date.UTC(2026, 0, 1);
const fleet = await createTestFleet({ now: start });

/** One folder, opened as often as a gateway starts. */
const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'lifecycles-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return async (clock: ManualClock) => {
    const path = join(folder, 'site.db');
    const store = await openStore({ path, migrations: siteMigrations, log });
    const lane = { appended: () => undefined };
    const lanes = { audit: lane, state: lane };
    const site = siteStore({ store, outbox: { kick: () => undefined }, lanes });
    const devices = await openDevices({ site, clock, log }, { writeAfterMs: 1 });
    const revocations = await Revocations.open({ site, clock, log });
    const inactiveAfterMs = () => weekMs;
    const lifecycles = new Lifecycles({
      ...{ site, devices, revocations, clock, log, inactiveAfterMs },
    });
    const unserved: Unserved[] = [];
    lifecycles.onUnserved((one) => unserved.push(one));
    const close = async (): Promise<void> => {
      await lifecycles.close();
      await devices.close();
      await store.close();
    };
    t.teardown(close);
    return {
      ...{ site, devices, revocations, lifecycles, unserved, close },
      async admit(device: string) {
        const { publicKey } = await createKey();
        const at = clock.now();
        const certificate = await issueDevice(fleet.siteCa, publicKey, { device, now: at });
        const admitted = { device, model: 'm', serialNo: '', firmwareVersion: undefined };
        const register = registerCertificate({ device, certificate, at });
        await site.commit([register, ...devices.admit(admitted, at)]);
        devices.admitted(admitted, at);
        return certificate;
      },
      /** A connection that comes and goes. */
      async visit(device: string) {
        devices.connected(device, 's');
        devices.disconnected(device, 's');
        await lifecycles.close();
      },
      state: (device: string) => devices.get(device)?.lifecycle.state,
      journal: (kind: string) =>
        store.read
          .all<{ body: string }>(
            `SELECT body FROM journal_audit WHERE kind = ?
             UNION ALL SELECT body FROM journal_state WHERE kind = ?`,
            [kind, kind],
          )
          .then((rows) => rows.map(({ body }) => JSON.parse(body) as Record<string, unknown>)),
    };
  };
};

const decision = (
  action: NonNullable<DeviceBody['lifecycle']>['action'],
  wall: number,
  removed = false,
): { id: string; body: DeviceBody } => ({
  id: 'pump',
  body: {
    lifecycle: { action, reason: 'r', actor: 'cloud:admin', decided_at: { wall, counter: 0 } },
    removed,
    labels: {},
  },
});

t.test('a silent device becomes inactive by itself, and active when it is heard', async (t) => {
  const clock = new ManualClock(start);
  const { admit, visit, devices, lifecycles, state, journal } = await (await openSite(t))(clock);
  await admit('pump');
  t.equal(state('pump'), 'provisioning');
  await visit('pump');
  t.equal(state('pump'), 'active');
  clock.advance(weekMs - 1);
  await lifecycles.checkSilence();
  t.equal(state('pump'), 'active');
  clock.advance(1);
  await lifecycles.checkSilence();
  t.equal(state('pump'), 'inactive');
  devices.seen('pump');
  await lifecycles.close();
  t.equal(state('pump'), 'active');
  devices.connected('pump', 'long');
  clock.advance(2 * weekMs);
  await lifecycles.checkSilence();
  t.equal(state('pump'), 'active', 'whoever is connected is not silent');
  t.match(await journal('device_lifecycle'), [
    { from: null, to: 'provisioning' },
    { from: 'provisioning', to: 'active', actor: 'site', decided_at: null },
    { from: 'active', to: 'inactive', reason: 'silent for too long' },
    { from: 'inactive', to: 'active' },
  ]);
});

t.test('a clock that jumps or lost its time makes nobody inactive', async (t) => {
  const open = await openSite(t);
  const clock = new ManualClock(start);
  const first = await open(clock);
  await first.admit('pump');
  await first.visit('pump');
  clock.set(start + 400 * dayMs);
  await first.lifecycles.checkSilence();
  t.equal(first.state('pump'), 'active', 'in one run the monotonic clock alone counts');
  clock.set(start);
  await first.close();

  const lost = new ManualClock(0);
  lost.trusted = false;
  const second = await open(lost);
  lost.advance(dayMs);
  lost.set(start + 400 * dayMs);
  await second.lifecycles.checkSilence();
  t.equal(second.state('pump'), 'active');
  await second.close();

  const later = new ManualClock(start + weekMs);
  const third = await open(later);
  await third.lifecycles.checkSilence();
  t.equal(third.state('pump'), 'active', 'nobody was listening while the gateway was off');
  later.advance(3_600_000);
  await third.lifecycles.checkSilence();
  t.equal(third.state('pump'), 'inactive', 'now somebody was');
});

t.test('of the decisions of cloud and site the later one counts', async (t) => {
  const clock = new ManualClock(start);
  const { admit, visit, lifecycles, state, unserved } = await (await openSite(t))(clock);
  await admit('pump');
  await visit('pump');
  await lifecycles.follow([decision('disable', start + 5)]);
  t.equal(state('pump'), 'disabled');
  t.match(unserved, [{ device: 'pump', state: 'disabled', isGone: false }]);
  t.throws(() => lifecycles.check('pump'), { code: 'DEVICE_DISABLED' });
  clock.trusted = false;
  clock.set(0);
  const here = { action: 'enable', reason: '', actor: 'site:ann' } as const;
  await lifecycles.decide('pump', here);
  t.equal(state('pump'), 'active', 'who saw the other decision is later, at 1970 too');
  await lifecycles.follow([decision('disable', start + 5)]);
  await lifecycles.follow([decision('retire', start + 4)]);
  t.equal(state('pump'), 'active', 'an older decision changes nothing');
  await lifecycles.follow([decision('retire', start + 6)]);
  t.equal(state('pump'), 'retired');
  await lifecycles.follow([decision('enable', start + 7)]);
  t.equal(state('pump'), 'retired', 'for good');
  await t.rejects(lifecycles.decide('pump', here), { code: 'RESOURCE_STATE_WRONG' });
  await admit('pump');
  await lifecycles.follow([decision('retire', start + 6)]);
  t.equal(state('pump'), 'provisioning', 'a new code overrules what it was made after');
});

t.test('what is decided again without a reason keeps the one it had', async (t) => {
  const { admit, lifecycles } = await (await openSite(t))(new ManualClock(start));
  await admit('pump');
  const disable = { action: 'disable', actor: 'site:ann' } as const;
  await lifecycles.decide('pump', { ...disable, reason: 'it leaks' });
  t.match(await lifecycles.decide('pump', { ...disable, reason: '' }), { reason: 'it leaks' });
  t.match(await lifecycles.decide('pump', { ...disable, reason: 'stolen' }), { reason: 'stolen' });
  const enable = { action: 'enable', reason: '', actor: 'site:ann' } as const;
  t.match(await lifecycles.decide('pump', enable), { reason: '' });
});

t.test('retiring takes the certificates with it, all in one commit', async (t) => {
  const open = await openSite(t);
  const site = await open(new ManualClock(start));
  const [first, second] = [await site.admit('pump'), await site.admit('pump')];
  const retire = { action: 'retire', reason: 'scrap', actor: 'site:ann' } as const;
  await site.lifecycles.decide('pump', retire);
  const issuer = first.extensions.authorityKeyId ?? '';
  for (const { serial } of [first, second]) t.ok(site.revocations.isRevoked(issuer, serial));
  t.match(await site.journal('certificate_revoked'), [
    { reason: 'cessation_of_operation', actor: 'site:ann' },
    { reason: 'cessation_of_operation', actor: 'site:ann' },
  ]);
  await site.close();
  const again = await open(new ManualClock(start));
  t.equal(again.state('pump'), 'retired');
  t.ok(again.revocations.isRevoked(issuer, second.serial));
});

t.test('a certificate issued while its device is retired goes with the others', async (t) => {
  const site = await (await openSite(t))(new ManualClock(start));
  const first = await site.admit('pump');
  const { publicKey } = await createKey();
  const issued = { device: 'pump', now: start };
  const certificate = await issueDevice(fleet.siteCa, publicKey, issued);
  const register = registerCertificate({ device: 'pump', certificate, at: start, replaces: first });
  const retire = { action: 'retire', reason: 'scrap', actor: 'site:ann' } as const;
  await Promise.all([site.lifecycles.decide('pump', retire), site.site.commit([register])]);
  const issuer = certificate.extensions.authorityKeyId ?? '';
  t.ok(site.revocations.isRevoked(issuer, certificate.serial));
  const ends = (await site.journal('device_lifecycle')).filter(({ to }) => to === 'retired');
  t.equal(ends.length, 1);
});

t.test('a device that was deleted in the cloud is forgotten once', async (t) => {
  const site = await (await openSite(t))(new ManualClock(start));
  await site.admit('pump');
  await site.visit('pump');
  await site.lifecycles.follow([decision('retire', start + 9, true)]);
  t.equal(site.devices.get('pump'), undefined);
  t.match(site.unserved, [{ device: 'pump', isGone: true }]);
  t.equal(site.revocations.count, 1);
  t.same(await site.journal('device_removed'), [{ device: 'pump' }]);
  t.same(await site.site.read.all('SELECT device FROM devices'), []);
});

t.test('how its board was flashed goes with it, unless that is half written', async (t) => {
  const image = { model: 'm', version: '1', sha256: 'a', sizeBytes: 1 };
  const writing = { phase: 'writing', run: null, image, former: null } as const;
  for (const [flash, left] of [
    [{ phase: 'idle' }, 0],
    [writing, 1],
  ] as const) {
    const { site, admit, lifecycles } = await (await openSite(t))(new ManualClock(start));
    await admit('pump');
    await site.commit([
      flashWrite('pump', { flash, running: image }, start),
      flashWrite('other', { flash: { phase: 'idle' }, running: image }, start),
    ]);
    await lifecycles.follow([decision('retire', start + 9, true)]);
    const rows = await site.read.all(`SELECT device FROM line_flashes WHERE device = 'pump'`);
    t.equal(rows.length, left, flash.phase);
    t.equal((await site.read.all('SELECT device FROM line_flashes')).length, left + 1);
  }
});

t.test('a gateway that has lost its database keeps out whom the plan keeps out', async (t) => {
  const site = await (await openSite(t))(new ManualClock(start));
  await site.lifecycles.follow([decision('disable', start), { ...decision('enable', 1), id: 'x' }]);
  t.throws(() => site.lifecycles.check('pump'), { code: 'DEVICE_DISABLED' });
  t.equal(site.devices.get('x'), undefined);
});
