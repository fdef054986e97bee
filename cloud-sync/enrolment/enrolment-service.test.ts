import { inflateRawSync } from 'node:zlib';
import {
  DeviceImportOutcome,
  type ImportDevicesRequest,
  type Manufacturer,
} from '@holdfast/protos/gen/holdfast/v1/enrollment';
import { hashClaim, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createTestManufacturer } from '@holdfast/provisioning/pki/test-manufacturer';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, type StandInLink, StandInLog } from '../testing/gateway-stand-in.js';

const newCode = (deviceId: string, model = '') => ({
  parent: '',
  deviceId,
  model,
  lifetimeSeconds: 0,
});
const hashOf = (code: string) => hashClaim(parseClaimCode(code, 'device').secret, 'a');

const createSite = (cloud: CloudUnderTest, siteId = 'a') =>
  cloud.call(cloud.sites, cloud.sites.createSite, { siteId, site: undefined });

/** The serial numbers that the plan revokes, once there are so many. */
const revokedIn = async (link: StandInLink, count: number): Promise<string[]> => {
  for (;;) {
    const { jws } = await link.next('planHead');
    const head = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString());
    const { documents }: { documents: { kind: string; sha256: string }[] } = head;
    // The site's document is always there: a head that is overtaken names others that are gone.
    const sha256 = documents
      .filter(({ kind }) => kind === 'site' || kind === 'revocations')
      .map((document) => Buffer.from(document.sha256, 'hex'));
    link.say({ $case: 'documentsWanted', value: { sha256 } });
    const bodies = (await link.next('documents')).documents
      .map(({ content }) => JSON.parse(inflateRawSync(content).toString()))
      .filter(({ kind }) => kind === 'revocations')
      .map(({ body }) => body);
    const serials: string[] = bodies.flatMap(({ certificates }) =>
      certificates.map(({ serial }: { serial: string }) => serial),
    );
    if (serials.length === count) return serials.sort();
  }
};

t.test('makes many codes, lists the open ones and deletes them', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { enrollment } = cloud;
  await createSite(cloud);
  const { claimCodes } = await cloud.call(enrollment, enrollment.batchCreateClaimCodes, {
    parent: 'sites/a',
    requests: [newCode('pump', 'm1'), newCode('', 'm2'), newCode('')],
  });
  t.match(claimCodes, [
    { deviceId: 'pump', model: 'm1' },
    { deviceId: '', model: 'm2' },
    { deviceId: '', model: '' },
  ]);
  t.equal(new Set(claimCodes.map(({ code }) => hashOf(code))).size, 3);
  const list = async () =>
    (
      await cloud.call(enrollment, enrollment.listClaimCodes, {
        parent: 'sites/-',
        pageSize: 0,
        pageToken: '',
      })
    ).claimCodes;
  t.same((await list()).map(({ name }) => name).sort(), claimCodes.map(({ name }) => name).sort());
  t.same(
    (await list()).map(({ code }) => code),
    ['', '', ''],
    'never the code itself',
  );
  const name = claimCodes[0]?.name ?? '';
  await cloud.call(enrollment, enrollment.deleteClaimCode, { name });
  t.equal((await list()).length, 2);
  await t.rejects(cloud.call(enrollment, enrollment.deleteClaimCode, { name }), {
    code: 'RESOURCE_NOT_FOUND',
  });
  await t.rejects(
    cloud.call(enrollment, enrollment.deleteClaimCode, { name: name.slice(0, -1) }),
    { code: 'REQUEST_INVALID' },
    'no part of an id deletes anything',
  );
  await t.rejects(
    cloud.call(enrollment, enrollment.batchCreateClaimCodes, {
      parent: 'sites/a',
      requests: [newCode('valve'), newCode('no/id')],
    }),
    { code: 'REQUEST_INVALID' },
  );
  t.equal((await list()).length, 2, 'all of them or none');
});

t.test('imports a list: each line by itself, and the same again does nothing twice', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { enrollment, devices } = cloud;
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const item = (deviceId: string, model = 'm1', labels: Record<string, string> = {}) => ({
    deviceId,
    model,
    labels,
    serialNo: '',
  });
  const run = async (more: Partial<ImportDevicesRequest>) => {
    const { results } = await cloud.call(enrollment, enrollment.importDevices, {
      parent: 'sites/a',
      devices: [],
      lifetimeSeconds: 0,
      renewCodes: false,
      validateOnly: false,
      ...more,
    });
    return results;
  };
  const {
    DEVICE_IMPORT_OUTCOME_CODE_CREATED: created,
    DEVICE_IMPORT_OUTCOME_CODE_OPEN: open,
    DEVICE_IMPORT_OUTCOME_ENROLLED: enrolled,
    DEVICE_IMPORT_OUTCOME_FAILED: failed,
  } = DeviceImportOutcome;
  const list = [item('d1', 'm1', { hall: '3' }), item('no id'), item('d2'), item('d2'), item('')];
  const dry = await run({ devices: list, validateOnly: true });
  t.same(
    dry.map(({ outcome }) => outcome),
    [created, failed, created, failed, failed],
  );
  t.equal(dry[0]?.claimCode, undefined, 'nothing is made');
  const first = await run({ devices: list });
  t.same(
    first.map(({ outcome }) => outcome),
    [created, failed, created, failed, failed],
  );
  t.match(first[1], { errorCode: 'REQUEST_INVALID', errorMessage: /device_id/ });
  t.match(first[3]?.errorMessage, /twice/);
  const again = await run({ devices: list });
  t.same(
    again.map(({ outcome }) => outcome),
    [open, failed, open, failed, failed],
  );
  t.equal(again[0]?.claimCode?.name, first[0]?.claimCode?.name);
  t.equal(again[0]?.claimCode?.code, '', 'it is shown once');
  const renewed = await run({ devices: [item('d2')], renewCodes: true });
  t.equal(renewed[0]?.outcome, created);
  const remodelled = await run({ devices: [item('d2', 'm2')] });
  t.match(remodelled[0], { outcome: created, claimCode: { model: 'm2' } });

  const audit = new StandInLog('audit');
  const code = first[0]?.claimCode?.code ?? '';
  link.say({ $case: 'journal', value: await audit.batch([enrolledEntry('d1', { code })]) });
  await link.next('journalCommitted');
  const device = await cloud.call(devices, devices.getDevice, { name: 'sites/a/devices/d1' });
  t.same(device.labels, { hall: '3' }, 'the labels waited for it');
  t.ok(device.confirmTime);
  const after = await run({ devices: [item('d1', 'm1', { hall: '4' })] });
  t.equal(after[0]?.outcome, enrolled);
  const labelled = await cloud.call(devices, devices.getDevice, { name: 'sites/a/devices/d1' });
  t.same(labelled.labels, { hall: '4' });
});

interface HowEnrolled {
  readonly code?: string;
  readonly manufacturer?: string;
  readonly serial?: string;
  readonly model?: string;
}

const enrolledEntry = (device: string, how: HowEnrolled = {}) => ({
  kind: 'device_enrolled',
  body: {
    device,
    model: how.model ?? 'm1',
    serial_no: '',
    door: 'native',
    certificate_serial: how.serial ?? 'ab',
    issuer_key_id: 'cafe',
    expires_at: 4_000_000_000_000,
    claim_hash: how.code === undefined ? null : hashOf(how.code),
    ...(how.manufacturer !== undefined && { manufacturer: how.manufacturer }),
  },
});

t.test('confirms an enrolment, or revokes it by the plan and says why', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { enrollment, devices } = cloud;
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const audit = new StandInLog('audit');
  const report = async (entry: ReturnType<typeof enrolledEntry>) => {
    link.say({ $case: 'journal', value: await audit.batch([entry]) });
    await link.next('journalCommitted');
  };
  const getDevice = (id: string, site = 'a') =>
    cloud.call(devices, devices.getDevice, { name: `sites/${site}/devices/${id}` });
  const make = async (deviceId: string) => {
    const made = await cloud.call(devices, devices.createClaimCode, {
      ...newCode(deviceId),
      parent: 'sites/a',
    });
    return made;
  };
  await report(enrolledEntry('on-site'));
  t.match(await getDevice('on-site'), { enrollmentProblem: '', confirmTime: Date });

  const good = await make('');
  await report(enrolledEntry('good', { code: good.code }));
  t.match(await getDevice('good'), { enrollmentProblem: '', confirmTime: Date });
  await report(enrolledEntry('good', { code: good.code, serial: 'ac' }));
  t.equal((await getDevice('good')).enrollmentProblem, '', 'told again, it is the same device');
  await report(enrolledEntry('thief', { code: good.code, serial: 'ba' }));
  t.match(await getDevice('thief'), {
    enrollmentProblem: /its code had enrolled good already/,
    confirmTime: undefined,
  });

  const lost = await make('late');
  await cloud.call(enrollment, enrollment.deleteClaimCode, { name: lost.name });
  await report(enrolledEntry('late', { code: lost.code, serial: 'bb' }));
  t.match((await getDevice('late')).enrollmentProblem, /its code had been deleted/);

  const { pem } = await createTestManufacturer();
  const terms: Manufacturer = {
    name: '',
    certificatesPem: pem,
    idPrefix: 'acme-',
    models: ['m1'],
    sites: ['sites/a'],
    createTime: undefined,
    expireTime: undefined,
    etag: '',
  };
  const manufacturer = await cloud.call(enrollment, enrollment.createManufacturer, {
    manufacturerId: 'acme',
    manufacturer: terms,
  });
  const by = (serial: string, model = 'm1') => ({ manufacturer: 'acme', serial, model });
  await report(enrolledEntry('acme-1', by('c1')));
  t.equal((await getDevice('acme-1')).enrollmentProblem, '');
  await report(enrolledEntry('acme-2', by('c2', 'm2')));
  t.match((await getDevice('acme-2')).enrollmentProblem, /may not enrol a m2/);
  await report(enrolledEntry('other-3', by('c3')));
  t.match((await getDevice('other-3')).enrollmentProblem, /by this id/);
  await cloud.call(enrollment, enrollment.updateManufacturer, {
    manufacturer: { ...manufacturer, sites: [] },
    updateMask: ['sites'],
  });
  const linkB = dial(await enrolStandIn(cloud, 'b'));
  t.teardown(() => linkB.close());
  linkB.hello();
  await linkB.next('welcome');
  linkB.say({
    $case: 'journal',
    value: await new StandInLog('audit').batch([enrolledEntry('acme-1', by('c4'))]),
  });
  await linkB.next('journalCommitted');
  t.match((await getDevice('acme-1', 'b')).enrollmentProblem, /enrolled at the site a/);

  await cloud.call(enrollment, enrollment.deleteManufacturer, {
    name: 'manufacturers/acme',
    etag: '',
  });
  await report(enrolledEntry('acme-5', by('c5')));
  t.match((await getDevice('acme-5')).enrollmentProblem, /may not enrol devices at a any more/);

  t.same(await revokedIn(link, 5), ['ba', 'bb', 'c2', 'c3', 'c5']);
  t.same(await revokedIn(linkB, 1), ['c4']);
});

t.test('keeps manufacturers, each within what it may enrol', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { enrollment } = cloud;
  await createSite(cloud);
  const { pem } = await createTestManufacturer();
  const manufacturer: Manufacturer = {
    name: '',
    certificatesPem: `an explanation\n${pem}`,
    idPrefix: 'acme-',
    models: ['m1', 'm1', 'm2'],
    sites: [],
    createTime: undefined,
    expireTime: undefined,
    etag: '',
  };
  const create = (more: Partial<Manufacturer> = {}, manufacturerId = 'acme') =>
    cloud.call(enrollment, enrollment.createManufacturer, {
      manufacturerId,
      manufacturer: { ...manufacturer, ...more },
    });
  const made = await create();
  t.match(made, { name: 'manufacturers/acme', models: ['m1', 'm2'], sites: [], expireTime: Date });
  t.equal(made.certificatesPem.trim(), pem.trim());
  await t.rejects(create(), { code: 'RESOURCE_EXISTS' });
  const bad: [Partial<Manufacturer>, string][] = [
    [{ certificatesPem: 'none' }, 'CERTIFICATE_INVALID'],
    [{ certificatesPem: cloud.rootPem }, 'CERTIFICATE_INVALID'],
    [{ idPrefix: '' }, 'REQUEST_INVALID'],
    [{ idPrefix: 'a b' }, 'REQUEST_INVALID'],
    [{ models: [] }, 'REQUEST_INVALID'],
    [{ models: [''] }, 'REQUEST_INVALID'],
    [{ sites: ['sites/none'] }, 'RESOURCE_NOT_FOUND'],
  ];
  for (const [more, code] of bad) await t.rejects(create(more, 'other'), { code });
  const changed = await cloud.call(enrollment, enrollment.updateManufacturer, {
    manufacturer: { ...made, models: ['m3'], idPrefix: 'ignored' },
    updateMask: ['models'],
  });
  t.match(changed, { models: ['m3'], idPrefix: 'acme-' });
  await t.rejects(
    cloud.call(enrollment, enrollment.deleteManufacturer, { name: made.name, etag: made.etag }),
    { code: 'RESOURCE_CONFLICT' },
  );
  await cloud.call(enrollment, enrollment.deleteManufacturer, {
    name: made.name,
    etag: changed.etag,
  });
  await t.rejects(cloud.call(enrollment, enrollment.getManufacturer, { name: made.name }), {
    code: 'RESOURCE_NOT_FOUND',
  });
});
