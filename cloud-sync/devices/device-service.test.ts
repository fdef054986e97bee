import { hashClaim, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const enrolledEntry = (device: string, claim: string | null = null) => ({
  kind: 'device_enrolled',
  body: {
    device,
    model: 'm1',
    serial_no: `sn-${device}`,
    door: 'native',
    certificate_serial: 'ab',
    claim_hash: claim,
  },
});
const stateEntry = (device: string, online: boolean) => ({
  kind: 'device',
  body: {
    device,
    online,
    last_seen: 7_000,
    firmware_version: '2.0',
    model: 'm1',
    door: 'native',
  },
});
const point = (device: string, ts: number) => ({
  kind: 'point',
  body: { device, series: 't', ts, value: { deg: ts } },
});

t.test('knows the devices of a site as its journal tells of them', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { devices } = cloud;
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const [audit, state, telemetry] = [
    new StandInLog('audit'),
    new StandInLog('state'),
    new StandInLog('telemetry'),
  ];
  const batches = [
    await telemetry.batch([point('d2', 1), point('d2', 2), point('d2', 1)]),
    await state.batch([stateEntry('d2', true), stateEntry('d1', false)]),
    await audit.batch([enrolledEntry('d1'), enrolledEntry('__proto__')]),
  ];
  for (const batch of batches) {
    link.say({ $case: 'journal', value: batch });
    await link.next('journalCommitted');
  }

  const listed = await cloud.call(devices, devices.listDevices, {
    parent: 'sites/-',
    pageSize: 2,
    pageToken: '',
  });
  t.same(
    listed.devices.map(({ name }) => name),
    ['sites/a/devices/__proto__', 'sites/a/devices/d1'],
  );
  const rest = await cloud.call(devices, devices.listDevices, {
    parent: 'sites/-',
    pageSize: 2,
    pageToken: listed.nextPageToken,
  });
  t.match(rest.devices, [
    {
      name: 'sites/a/devices/d2',
      online: true,
      firmwareVersion: '2.0',
      model: 'm1',
      door: 'native',
    },
  ]);
  t.equal(rest.nextPageToken, '');
  await t.rejects(
    cloud.call(devices, devices.listDevices, {
      parent: 'sites/a',
      pageSize: 2,
      pageToken: listed.nextPageToken,
    }),
    { code: 'REQUEST_INVALID' },
    'a token of another listing',
  );

  const parent = 'sites/a/devices/d2';
  const page = await cloud.call(devices, devices.listTelemetry, {
    parent,
    pageSize: 1,
    pageToken: '',
    orderBy: '',
  });
  t.match(page.points, [{ series: 't', time: new Date(1), valueJson: '{"deg":1}', boot: '' }]);
  const next = await cloud.call(devices, devices.listTelemetry, {
    parent,
    pageSize: 5,
    pageToken: page.nextPageToken,
    orderBy: '',
  });
  t.same(
    next.points.map(({ time }) => time?.getTime()),
    [2],
  );

  const newest = await cloud.call(devices, devices.listTelemetry, {
    parent,
    pageSize: 1,
    pageToken: '',
    orderBy: 'arrival desc',
  });
  const older = await cloud.call(devices, devices.listTelemetry, {
    parent,
    pageSize: 1,
    pageToken: newest.nextPageToken,
    orderBy: 'arrival  desc',
  });
  t.same(
    [...newest.points, ...older.points].map(({ time }) => time?.getTime()),
    [2, 1],
  );
  t.equal(older.nextPageToken, '');
  for (const [orderBy, pageToken] of [
    ['time', ''],
    ['', newest.nextPageToken],
  ] as const) {
    await t.rejects(
      cloud.call(devices, devices.listTelemetry, { parent, pageSize: 1, pageToken, orderBy }),
      { code: 'REQUEST_INVALID' },
    );
  }

  const device = await cloud.call(devices, devices.getDevice, { name: parent });
  const labelled = await cloud.call(devices, devices.updateDevice, {
    device: { ...device, labels: { hall: '3' } },
    updateMask: ['labels'],
  });
  t.same(labelled.labels, { hall: '3' });
  await t.rejects(cloud.call(devices, devices.updateDevice, { device, updateMask: ['model'] }), {
    code: 'REQUEST_INVALID',
  });
  await cloud.call(devices, devices.deleteDevice, { name: parent, etag: labelled.etag });
  await t.rejects(cloud.call(devices, devices.getDevice, { name: parent }), {
    code: 'RESOURCE_NOT_FOUND',
  });
  const site = await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' });
  t.equal(site.deviceCount, 2n);
  await t.rejects(cloud.call(cloud.sites, cloud.sites.deleteSite, { name: 'sites/a', etag: '' }), {
    code: 'RESOURCE_CONFLICT',
  });
});

t.test('a claim code stands in the plan until the site says that it was used', async (t) => {
  const cloud = await cloudUnderTest(t);
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('planHead');
  const { code } = await cloud.call(cloud.devices, cloud.devices.createClaimCode, {
    parent: 'sites/a',
    deviceId: 'd1',
    lifetimeSeconds: 0,
    model: '',
  });
  const { secret } = parseClaimCode(code, 'device');
  const withCode = await link.next('planHead');
  const audit = new StandInLog('audit');
  const used = await audit.batch([enrolledEntry('d1', hashClaim(secret, 'a'))]);
  link.say({ $case: 'journal', value: used });
  const without = await link.next('planHead');
  const claims = ({ jws }: { jws: string }) =>
    JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()).documents.find(
      ({ kind }: { kind: string }) => kind === 'claims',
    ).sha256;
  t.not(claims(without), claims(withCode));
});

t.test(
  'shows points of a site that did not know the time as guesses, until it says what their stamps meant',
  async (t) => {
    const cloud = await cloudUnderTest(t);
    const link = dial(await enrolStandIn(cloud, 'a'));
    t.teardown(() => link.close());
    link.hello();
    await link.next('welcome');
    const [audit, telemetry] = [new StandInLog('audit'), new StandInLog('telemetry')];
    const stamped = (boot: string, mono: number) => ({
      kind: 'point',
      body: { device: 'd', series: 't', ts: 5_000, value: mono, stamp: { boot, mono } },
    });
    const take = async (batch: Parameters<typeof link.say>[0]) => {
      link.say(batch);
      await link.next('journalCommitted');
    };
    const state = await new StandInLog('state').batch([stateEntry('d', true)]);
    await take({ $case: 'journal', value: state });
    const points = [
      stamped('b1', 10),
      stamped('b1', 20),
      stamped('b2', 10),
      stamped('b1', 10),
      point('d', 7),
    ];
    await take({ $case: 'journal', value: await telemetry.batch(points) });
    const read = async () => {
      const parent = 'sites/a/devices/d';
      const page = { parent, pageSize: 0, pageToken: '', orderBy: 'arrival' };
      const { points } = await cloud.call(cloud.devices, cloud.devices.listTelemetry, page);
      return points.map(({ time, timeIsGuess }) => [time?.getTime(), timeIsGuess]);
    };
    t.same(
      await read(),
      [
        [5_000, true],
        [5_000, true],
        [5_000, true],
        [7, false],
      ],
      'each counts once by its stamp',
    );
    const clock = (offset: number) => ({
      kind: 'clock',
      body: { boot: 'b1', offset, source: 'signed' },
    });
    await take({ $case: 'journal', value: await audit.batch([clock(1), clock(1_000_000)]) });
    t.same(await read(), [
      [1_000_010, false],
      [1_000_020, false],
      [5_000, true],
      [7, false],
    ]);
  },
);
