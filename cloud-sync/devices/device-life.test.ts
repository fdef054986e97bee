import { inflateRawSync } from 'node:zlib';
import { LifecycleAction, LifecycleState } from '@holdfast/protos/gen/holdfast/v1/devices';
import type { DeviceBody, RevocationsBody } from '@holdfast/protos/link/plan-documents';
import { verifyPlanHead } from '@holdfast/provisioning/documents/plan';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import t, { type Test } from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const name = 'sites/a/devices/pump';
const enrolled = {
  kind: 'device_enrolled',
  body: {
    device: 'pump',
    model: 'm1',
    serial_no: '',
    door: 'native',
    certificate_serial: 'ab',
    issuer_key_id: 'cafe',
    expires_at: 4_000_000_000_000,
    claim_hash: null,
  },
};
const renewed = {
  kind: 'certificate_issued',
  body: {
    device: 'pump',
    issuer_key_id: 'cafe',
    serial: 'ac',
    expires_at: 4_000_000_000_000,
    replaces: 'ab',
  },
};

const open = async (t: Test) => {
  const cloud = await cloudUnderTest(t);
  const { devices } = cloud;
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const lanes = { audit: new StandInLog('audit'), state: new StandInLog('state') };
  const trust = { root: parseCertificate(cloud.rootPem), at: Date.now() };
  const report = async (lane: 'audit' | 'state', ...entries: { kind: string; body: object }[]) => {
    link.say({ $case: 'journal', value: await lanes[lane].batch(entries) });
    await link.next('journalCommitted');
  };
  /** The documents of the newest plan, by kind and id. */
  const plan = async (): Promise<Map<string, unknown>> => {
    let { head } = await verifyPlanHead((await link.next('planHead')).jws, trust);
    while (link.has('planHead')) {
      head = (await verifyPlanHead((await link.next('planHead')).jws, trust)).head;
    }
    const sha256 = head.documents.map((one) => Buffer.from(one.sha256, 'hex'));
    link.say({ $case: 'documentsWanted', value: { sha256 } });
    const { documents } = await link.next('documents');
    return new Map(
      documents.map(({ content }) => {
        const { kind, id, body } = JSON.parse(inflateRawSync(content).toString());
        return [`${kind}/${id}`, body];
      }),
    );
  };
  await plan();
  const device = () => cloud.call(devices, devices.getDevice, { name });
  const change = (action: LifecycleAction, reason = '') =>
    cloud.call(devices, devices.changeDeviceLifecycle, { name, action, reason });
  return { cloud, devices, report, plan, device, change };
};

t.test('disables a device through the plan, and knows when its site has done so', async (t) => {
  const { report, plan, device, change } = await open(t);
  await report('audit', enrolled);
  const asked = await change(LifecycleAction.LIFECYCLE_ACTION_DISABLE, 'sold');
  t.equal(asked.pendingAction, LifecycleAction.LIFECYCLE_ACTION_DISABLE);
  t.equal(asked.lifecycleState, LifecycleState.LIFECYCLE_STATE_ACTIVE, 'as far as is known');
  const { lifecycle } = (await plan()).get('device/pump') as Required<DeviceBody>;
  t.match(lifecycle, { action: 'disable', reason: 'sold', actor: 'cloud:admin' });
  const entry = { device: 'pump', from: 'active', to: 'disabled', reason: 'sold' };
  const done = { ...entry, actor: lifecycle.actor, decided_at: lifecycle.decided_at };
  await report('audit', { kind: 'device_lifecycle', body: done });
  t.match(await device(), {
    lifecycleState: LifecycleState.LIFECYCLE_STATE_DISABLED,
    lifecycleReason: 'sold',
    lifecycleActor: 'cloud:admin',
    pendingAction: LifecycleAction.LIFECYCLE_ACTION_UNSPECIFIED,
  });
});

t.test('the later of two decisions counts, whoever made it', async (t) => {
  const { report, device, change, plan } = await open(t);
  await report('audit', enrolled);
  const later = { wall: Date.now() + 60_000, counter: 0 };
  const here = { device: 'pump', from: 'active', to: 'disabled', reason: 'leaks' };
  await report('audit', {
    kind: 'device_lifecycle',
    body: { ...here, actor: 'site:ann', decided_at: later },
  });
  t.match((await plan()).get('device/pump'), {
    lifecycle: { action: 'disable', actor: 'site:ann', decided_at: later },
  });
  await change(LifecycleAction.LIFECYCLE_ACTION_ENABLE);
  const { lifecycle } = (await plan()).get('device/pump') as Required<DeviceBody>;
  t.ok(
    lifecycle.decided_at.wall > later.wall || lifecycle.decided_at.counter > later.counter,
    'whoever knew of the other decision is later, whatever the clocks say',
  );
  const early = { wall: 5, counter: 0 };
  await report('audit', {
    kind: 'device_lifecycle',
    body: { ...here, to: 'retired', actor: 'site:bob', decided_at: early },
  });
  t.match(
    await device(),
    {
      lifecycleState: LifecycleState.LIFECYCLE_STATE_RETIRED,
      pendingAction: LifecycleAction.LIFECYCLE_ACTION_ENABLE,
    },
    'what the site says is so; what was decided here is still on its way',
  );
  await t.rejects(change(LifecycleAction.LIFECYCLE_ACTION_DISABLE), {
    code: 'RESOURCE_STATE_WRONG',
  });
});

t.test('revokes what a device has, and tells its site and the next gateway of it', async (t) => {
  const { cloud, devices, report, plan } = await open(t);
  await report('audit', enrolled, renewed);
  const revoke = (serial: string, reason = '') =>
    cloud.call(devices, devices.revokeDeviceCertificates, { name, serial, reason });
  await t.rejects(revoke('dd'), { code: 'RESOURCE_NOT_FOUND' });
  await t.rejects(revoke('ab', 'boredom'), { code: 'REQUEST_INVALID' });
  t.same(await revoke('ab', 'key_compromise'), { serials: ['ab'] });
  const first = (await plan()).get('revocations/revocations') as RevocationsBody;
  t.match(first.certificates, [
    { issuer_key_id: 'cafe', serial: 'ab', reason: 'key_compromise', actor: 'cloud:admin' },
  ]);
  t.match(first.root_crl, /BEGIN X509 CRL/);
  t.same(await revoke(''), { serials: ['ac'] }, 'all means those that are left');
  const { certificates } = await cloud.call(devices, devices.listDeviceCertificates, {
    parent: name,
    pageSize: 1,
    pageToken: '',
  });
  t.match(certificates, [{ revocationReason: /./, revokedBy: 'cloud:admin', revokeTime: Date }]);
  await plan();
  const ofSite = { device: 'pump', issuer_key_id: 'cafe', serial: 'ad', expires_at: null };
  const bySite = { ...ofSite, reason: 'key_compromise', actor: 'site:ann', revoked_at: 7 };
  await report('audit', { kind: 'certificate_revoked', body: bySite });
  const then = (await plan()).get('revocations/revocations') as RevocationsBody;
  t.match(then.certificates.at(-1), { serial: 'ad', actor: 'site:ann', at: 7 });
});

t.test('what a site renewed before it heard of a revocation goes the same way', async (t) => {
  const { cloud, devices, report, plan } = await open(t);
  const again = (replaces: string, serial: string) => ({
    ...renewed,
    body: { ...renewed.body, replaces, serial },
  });
  await report('audit', enrolled);
  const request = { name, serial: '', reason: 'key_compromise' };
  t.same(await cloud.call(devices, devices.revokeDeviceCertificates, request), { serials: ['ab'] });
  await plan();
  // It was cut off meanwhile, and the device renewed twice.
  await report('audit', again('ab', 'ac'), again('ac', 'ad'));
  const { certificates } = (await plan()).get('revocations/revocations') as RevocationsBody;
  t.match(
    certificates.map(({ serial, reason, actor }) => [serial, reason, actor]),
    ['ab', 'ac', 'ad'].map((serial) => [serial, 'key_compromise', 'cloud:admin']),
  );
  const superseded = {
    ...{ device: 'pump', issuer_key_id: 'cafe', serial: 'b0', expires_at: null },
    ...{ reason: 'superseded', actor: 'site:renewal', revoked_at: 7 },
  };
  await report('audit', { kind: 'certificate_revoked', body: superseded }, again('b0', 'b1'));
  const asked = { parent: name, pageSize: 0, pageToken: '' };
  const listed = await cloud.call(devices, devices.listDeviceCertificates, asked);
  t.match(
    listed.certificates.filter(({ serial }) => serial === 'b1'),
    [{ revokedBy: '' }],
  );
});

t.test('a deleted device is gone here at once, and for good when its site says so', async (t) => {
  const { cloud, devices, report, plan, device } = await open(t);
  await report('audit', enrolled);
  await cloud.call(devices, devices.deleteDevice, { name, etag: '' });
  await t.rejects(device(), { code: 'RESOURCE_NOT_FOUND' });
  const count = async () =>
    (await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' })).deviceCount;
  t.equal(await count(), 0n);
  const documents = await plan();
  t.match(documents.get('device/pump'), { removed: true, lifecycle: { action: 'retire' } });
  t.match(documents.get('revocations/revocations'), { certificates: [{ serial: 'ab' }] });
  const online = {
    ...{ device: 'pump', online: true, last_seen: 7, firmware_version: null, model: 'm1' },
    door: 'native',
  };
  await report('state', { kind: 'device', body: online });
  await t.rejects(
    device(),
    { code: 'RESOURCE_NOT_FOUND' },
    'what was under way does not bring it back',
  );
  await report('state', { kind: 'device_removed', body: { device: 'pump' } });
  t.notOk((await plan()).has('device/pump'));
  const late = { device: 'pump', from: null, to: 'active', reason: '', actor: 'site' };
  await report('audit', { kind: 'device_lifecycle', body: { ...late, decided_at: null } });
  await t.rejects(
    device(),
    { code: 'RESOURCE_NOT_FOUND' },
    'nor does what another lane says of before',
  );
  t.equal(await count(), 0n);
  await report('audit', { ...enrolled, body: { ...enrolled.body, certificate_serial: 'ff' } });
  t.equal((await device()).name, name, 'a new one may have its id');
  t.equal(await count(), 1n);
});
