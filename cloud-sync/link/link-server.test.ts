import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { verifyPlanHead } from '@holdfast/provisioning/documents/plan';
import { parseCertificate, pemChain } from '@holdfast/provisioning/pki/certificate';
import { issueDevice, issueGateway, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import { createKey, parseKey, privatePem } from '@holdfast/provisioning/pki/keys';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import {
  dial,
  enrolStandIn,
  type LinkCredentials,
  StandInLink,
  StandInLog,
} from '../testing/gateway-stand-in.js';

const point = (seq: number, value = 1) => ({
  kind: 'point',
  body: { device: 'd1', series: 'temp', ts: 1_000 + seq, value, boot: 'b', seq },
});
const device = (online: boolean) => ({
  kind: 'device',
  body: {
    device: 'd1',
    online,
    last_seen: 5_000,
    firmware_version: '1.0',
    model: 'm',
    door: 'native',
  },
});

t.test('takes the journal in, each entry once, and goes on where it stands', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const state = new StandInLog('state');
  const telemetry = new StandInLog('telemetry');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [state.position, telemetry.position] });
  const welcome = await link.next('welcome');
  t.same(
    welcome.journal.map(({ seq }) => seq),
    [0n, 0n],
  );
  link.say({ $case: 'journal', value: await state.batch([device(true)]) });
  t.equal((await link.next('journalCommitted')).position?.seq, 1n);
  const sent = await telemetry.batch([point(1), point(2), point(2)]);
  link.say({ $case: 'journal', value: sent });
  t.same((await link.next('journalCommitted')).position, telemetry.position);
  link.say({ $case: 'journal', value: sent });
  t.equal((await link.next('journalCommitted')).position?.seq, 3n, 'a repeat is acknowledged');
  link.close();

  const second = dial(gateway);
  t.teardown(() => second.close());
  second.hello({ journal: [state.position, telemetry.position] });
  t.same((await second.next('welcome')).journal, [state.position, telemetry.position]);

  const { points } = await cloud.call(cloud.devices, cloud.devices.listTelemetry, {
    parent: 'sites/a/devices/d1',
    pageSize: 0,
    pageToken: '',
    orderBy: '',
  });
  t.same(
    points.map(({ seq, valueJson }) => [seq, valueJson]),
    [
      [1n, '1'],
      [2n, '1'],
    ],
    'a point counts once by boot and seq',
  );
  const site = await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' });
  t.match(site.gateway, { connected: true, stateSeq: 1n, telemetrySeq: 3n, epoch: 1n });
  t.equal(site.deviceCount, 1n);
});

t.test(
  'commits the rest of a batch of which an earlier connection brought the beginning',
  async (t) => {
    const cloud = await cloudUnderTest(t);
    const gateway = await enrolStandIn(cloud, 'a');
    const log = new StandInLog('audit');
    const twin = Object.assign(new StandInLog('audit'), { log: log.log });
    const link = dial(gateway);
    t.teardown(() => link.close());
    link.hello();
    await link.next('welcome');
    const rebuilt = (reason: string) => ({
      kind: 'store_rebuilt',
      body: { database: 'site.db', reason, moved_to: 'x' },
    });
    link.say({ $case: 'journal', value: await log.batch([rebuilt('1')]) });
    await link.next('journalCommitted');
    link.say({ $case: 'journal', value: await twin.batch([rebuilt('1'), rebuilt('2')]) });
    t.equal((await link.next('journalCommitted')).position?.seq, 2n);
  },
);

t.test('begins a lane anew when it does not continue what is committed', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const log = new StandInLog('telemetry');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [log.position] });
  await link.next('welcome');
  link.say({ $case: 'journal', value: await log.batch([point(1), point(2)]) });
  await link.next('journalCommitted');
  const restored = Object.assign(new StandInLog('telemetry'), { log: log.log });
  await restored.batch([point(1), point(9)]);
  link.say({ $case: 'journal', value: await restored.batch([point(3)]) });
  t.match(await link.next('laneReset'), { log: log.log });
  link.close();

  const older = Object.assign(new StandInLog('telemetry'), { log: log.log });
  await older.batch([point(1)]);
  const second = dial(gateway);
  t.teardown(() => second.close());
  second.hello({ journal: [older.position] });
  t.match(
    await second.next('laneReset'),
    { log: log.log },
    'a restored copy is told at the meeting',
  );
  const anew = new StandInLog('telemetry', { after: 700 });
  second.say({ $case: 'journal', value: await anew.batch([point(1), point(3)]) });
  t.equal((await second.next('journalCommitted')).position?.seq, 702n, 'it may begin anywhere');
});

t.test('refuses what is not a batch, and changes nothing', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const log = new StandInLog('telemetry');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const batch = await log.batch([point(1)]);
  link.say({ $case: 'journal', value: { ...batch, chain: Buffer.alloc(32) } });
  t.match(await link.next('refused'), { code: 'REQUEST_INVALID' });
  await link.ended;
});

t.test('keeps entries of kinds it does not know, and counts them', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const log = new StandInLog('state');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const strange = [
    { kind: 'teleported', body: { to: 'b' } },
    device(true),
    { kind: 'device', body: 1 },
  ];
  link.say({ $case: 'journal', value: await log.batch(strange) });
  t.equal((await link.next('journalCommitted')).position?.seq, 3n);
});

t.test('a time that is no date keeps nobody from reading the others', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  link.say({ $case: 'journal', value: await new StandInLog('state').batch([device(true)]) });
  const wrong = { kind: 'point', body: { ...point(1).body, ts: 9e15 } };
  const batch = await new StandInLog('telemetry').batch([wrong, point(2)]);
  link.say({ $case: 'journal', value: batch });
  for (let lanes = 0; lanes < 2; lanes += 1) await link.next('journalCommitted');
  const { points } = await cloud.call(cloud.devices, cloud.devices.listTelemetry, {
    parent: 'sites/a/devices/d1',
    pageSize: 10,
    pageToken: '',
    orderBy: '',
  });
  t.match(points, [{ seq: 2n }]);
});

t.test('a fenced gateway whose lane was given up hands it over in a new log', async (t) => {
  const cloud = await cloudUnderTest(t);
  const older = await enrolStandIn(cloud, 'a');
  const log = new StandInLog('telemetry');
  const before = dial(older);
  t.teardown(() => before.close());
  before.hello();
  await before.next('welcome');
  before.say({ $case: 'journal', value: await log.batch([point(1)]) });
  await before.next('journalCommitted');
  before.close();
  await enrolStandIn(cloud, 'a', { replace: true });

  const link = dial(older);
  t.teardown(() => link.close());
  link.hello({ journal: [{ ...log.position, chain: Buffer.alloc(32, 1) }] });
  t.equal((await link.next('refused')).code, 'GATEWAY_FENCED');
  t.equal((await link.next('laneReset')).log, log.log);
  link.say({ $case: 'journal', value: await new StandInLog('telemetry').batch([point(2)]) });
  t.equal((await link.next('journalCommitted')).position?.seq, 1n);
});

t.test('pushes the plan, and gives the documents that its head names', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello();
  const root = parseCertificate(cloud.rootPem);
  const trust = { root, at: Date.now() };
  const first = await verifyPlanHead((await link.next('planHead')).jws, trust);
  t.match(first.head, { fleet: 'test', site: 'a', epoch: 1, generation: 1 });
  t.same(
    first.head.documents.map(({ kind }) => kind),
    ['claims', 'revocations', 'site'],
  );
  await cloud.call(cloud.devices, cloud.devices.createClaimCode, {
    parent: 'sites/a',
    deviceId: 'd1',
    lifetimeSeconds: 0,
    model: '',
  });
  const { head } = await verifyPlanHead((await link.next('planHead')).jws, trust);
  t.equal(head.revision, first.head.revision + 1);
  const [claims, , site] = head.documents;
  t.equal(claims?.revision, head.revision);
  t.same(site, first.head.documents[2], 'what did not change keeps its revision');
  const wanted = head.documents.map(({ sha256 }) => Buffer.from(sha256, 'hex'));
  link.say({ $case: 'documentsWanted', value: { sha256: [...wanted, Buffer.alloc(32)] } });
  const { documents } = await link.next('documents');
  t.equal(documents.length, 3);
  for (const { sha256, content } of documents) {
    t.same(createHash('sha256').update(inflateRawSync(content)).digest(), sha256);
  }
  link.say({
    $case: 'planApplied',
    value: {
      generation: 1n,
      revision: BigInt(head.revision),
      refusedCode: '',
      refusedMessage: '',
    },
  });
  // Commits are in order: when this one is acknowledged, the answer is on disk too.
  const audit = new StandInLog('audit');
  const refusal = { generation: 1, revision: head.revision + 1, code: 'PLAN_OLDER', message: '' };
  link.say({
    $case: 'journal',
    value: await audit.batch([{ kind: 'plan_refused', body: refusal }]),
  });
  await link.next('journalCommitted');
  const shown = await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' });
  t.equal(shown.plan?.appliedRevision, BigInt(head.revision));
});

t.test('a clone is refused, and forgotten with the gateway that it was one of', async (t) => {
  // As long as the one that is there may take to answer.
  const cloud = await cloudUnderTest(t, { link: { answerTimeoutMs: 60_000 } });
  const gateway = await enrolStandIn(cloud, 'a');
  const first = dial(gateway);
  t.teardown(() => first.close());
  first.hello({ bootId: 'one' });
  await first.next('welcome');

  const clone = dial(gateway);
  t.teardown(() => clone.close());
  clone.hello({ bootId: 'two' });
  t.match(await clone.next('refused'), { code: 'GATEWAY_CLONED' });
  const shown = await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' });
  t.match(shown.gateway, { cloneSuspected: true, connected: true });

  const replacement = await enrolStandIn(cloud, 'a', { replace: true });
  const owner = dial(replacement);
  t.teardown(() => owner.close());
  owner.hello({ bootId: 'three', epoch: 2n });
  await owner.next('welcome');
  const healed = await cloud.call(cloud.sites, cloud.sites.getSite, { name: 'sites/a' });
  t.match(healed.gateway, { cloneSuspected: false, epoch: 2n });
});

t.test('one gateway a site: a hung one is taken over, a replacement fences', async (t) => {
  const cloud = await cloudUnderTest(t, { link: { answerTimeoutMs: 200 } });
  const gateway = await enrolStandIn(cloud, 'a');
  const first = dial(gateway);
  t.teardown(() => first.close());
  first.hello({ bootId: 'one' });
  await first.next('welcome');

  first.isAnswering = false;
  const successor = dial(gateway);
  t.teardown(() => successor.close());
  successor.hello({ bootId: 'two' });
  await successor.next('welcome');
  await first.ended;

  await enrolStandIn(cloud, 'a', { replace: true });
  t.match(await successor.next('refused'), { code: 'GATEWAY_FENCED' });
  const state = new StandInLog('state');
  const telemetry = new StandInLog('telemetry');
  successor.say({ $case: 'journal', value: await state.batch([device(true)]) });
  successor.say({ $case: 'journal', value: await telemetry.batch([point(1)]) });
  const taken = [
    await successor.next('journalCommitted'),
    await successor.next('journalCommitted'),
  ];
  t.same(
    taken.map(({ position }) => position?.seq),
    [1n, 1n],
    'it may still hand over its journal',
  );
  const known = await cloud.call(cloud.devices, cloud.devices.getDevice, {
    name: 'sites/a/devices/d1',
  });
  t.equal(known.online, false, 'what it says is so now counts no more');

  const fenced = dial(gateway);
  t.teardown(() => fenced.close());
  fenced.hello({ journal: [telemetry.position] });
  t.match(await fenced.next('refused'), { code: 'GATEWAY_FENCED' });
  t.same((await fenced.next('journalCommitted')).position, telemetry.position);
});

t.test('takes no gateway for silent that waits for its welcome', async (t) => {
  const cloud = await cloudUnderTest(t, { link: { keepaliveMs: 100, answerTimeoutMs: 400 } });
  const gateway = await enrolStandIn(cloud, 'a');
  const hung = dial(gateway);
  t.teardown(() => hung.close());
  hung.isAnswering = false;
  hung.hello();
  await hung.next('welcome');
  // It is heard of, but answers nothing: who comes next waits for its answer for longer than a silence may be.
  const murmurs = setInterval(() => hung.say({ $case: 'pong', value: { id: 0n } }), 10);
  t.teardown(() => clearInterval(murmurs));
  const newcomer = dial(gateway);
  t.teardown(() => newcomer.close());
  newcomer.hello();
  await newcomer.next('welcome');
  t.pass('it was waited for');
});

t.test('gives a silent connection up after 1.5 × keepalive', async (t) => {
  const cloud = await cloudUnderTest(t, { link: { keepaliveMs: 100 } });
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.isAnswering = false;
  link.hello();
  await link.next('welcome');
  const { details } = await link.ended;
  t.match(details, 'nothing was heard');
});

t.test('believes no epoch that the certificate was not issued for', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ epoch: 2n });
  t.match(await link.next('refused'), { code: 'NOT_AUTHORISED' });
});

t.test('a plan above ours means that we were restored: the generation rises', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ planGeneration: 3n, planRevision: 90n });
  const root = parseCertificate(cloud.rootPem);
  for (;;) {
    const { jws } = await link.next('planHead');
    const { head } = await verifyPlanHead(jws, { root, at: Date.now() });
    if (head.generation === 4) break;
  }
  t.pass('its generation is above the site’s');
});

t.test('listens to no journal before it has said who may speak for the site', async (t) => {
  const cloud = await cloudUnderTest(t, { link: { answerTimeoutMs: 60_000 } });
  const gateway = await enrolStandIn(cloud, 'a');
  const present = dial(gateway);
  t.teardown(() => present.close());
  present.isAnswering = false;
  present.hello();
  await present.next('welcome');
  const newcomer = dial(gateway);
  t.teardown(() => newcomer.close());
  newcomer.hello();
  newcomer.say({ $case: 'journal', value: await new StandInLog('telemetry').batch([point(1)]) });
  t.match(await newcomer.next('refused'), { code: 'REQUEST_INVALID' });
});

t.test('a plan of the same number that says something else: the generation rises', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ planGeneration: 1n, planRevision: 1n });
  await link.next('planHead');
  const value = { generation: 1n, revision: 1n, refusedCode: 'PLAN_CONFLICT', refusedMessage: 'm' };
  link.say({ $case: 'planApplied', value });
  const { jws } = await link.next('planHead');
  const root = parseCertificate(cloud.rootPem);
  t.match((await verifyPlanHead(jws, { root, at: Date.now() })).head, { generation: 2 });
});

t.test('speaks with gateways that it certified, and with nobody else', async (t) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const refusedCode = async (credentials: LinkCredentials): Promise<string> => {
    const link = new StandInLink(credentials, gateway.enrolled.linkAddress);
    t.teardown(() => link.close());
    link.hello();
    return (await link.next('refused')).code;
  };
  const file = (name: string) => readFile(join(cloud.dataDir, 'authority', name), 'utf8');
  const root = {
    certificate: parseCertificate(cloud.rootPem),
    key: parseKey(await file('root.key')),
  };
  const key = await createKey();
  const issued = { now: Date.now(), site: 'a', device: 'd' };
  const siteCa = { certificate: await issueSiteCa(root, key.publicKey, issued), key };
  const device = await issueDevice(siteCa, key.publicKey, issued);
  const ofDevice = {
    root: cloud.rootPem,
    key: privatePem(key),
    cert: pemChain(device, siteCa.certificate),
  };
  t.equal(await refusedCode(ofDevice), 'PEER_REFUSED', 'a device, whose certificate TLS accepts');

  const unrecorded = await issueGateway(root, key.publicKey, {
    site: 'a',
    gateway: gateway.enrolled.gatewayId,
    now: Date.now(),
  });
  const credentials = { root: cloud.rootPem, key: privatePem(key), cert: unrecorded.pem };
  t.equal(await refusedCode(credentials), 'NOT_AUTHORISED', 'not on record');

  await cloud.call(cloud.sites, cloud.sites.deleteSite, { name: 'sites/a', etag: '' });
  t.equal(await refusedCode(gateway), 'NOT_AUTHORISED', 'its site is gone');
});
