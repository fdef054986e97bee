import { request } from 'node:https';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const get = (port: number, path: string, ca: string): Promise<{ status: number; body: Buffer }> =>
  new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, ca, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }),
      );
    })
      .once('error', reject)
      .end();
  });

t.test('a gateway that was stolen is taken back, with its authority', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { sites } = cloud;
  const stolen = await enrolStandIn(cloud, 'a');
  const revoke = (gatewayId: string, includeSiteCa: boolean) =>
    cloud.call(sites, sites.revokeGateway, { name: 'sites/a', gatewayId, includeSiteCa });
  const { gatewayId } = stolen.enrolled;
  await t.rejects(revoke(gatewayId, true), { code: 'RESOURCE_STATE_WRONG' }, 'not the only one');
  await t.rejects(revoke('gw9', true), { code: 'RESOURCE_NOT_FOUND' });
  const present = await enrolStandIn(cloud, 'a', { replace: true });
  const own = parseCertificate(stolen.cert);
  const authority = parseCertificate(new Uint8Array(stolen.enrolled.siteCaCertificate));
  t.same(await revoke('', false), { serials: [own.serial] });
  t.same(await revoke(gatewayId, true), { serials: [authority.serial] });
  t.same(await revoke(gatewayId, true), { serials: [] });

  const thief = dial(stolen);
  t.teardown(() => thief.close());
  thief.hello();
  t.match(await thief.next('refused'), { code: 'PEER_REFUSED', message: /revoked/ });
  const link = dial(present);
  t.teardown(() => link.close());
  link.hello({ epoch: 2n });
  await link.next('welcome');

  const list = await get(cloud.ports.https, '/crl/root.crl', cloud.rootPem);
  t.equal(list.status, 200);
  for (const { serial } of [own, authority]) t.ok(list.body.includes(Buffer.from(serial, 'hex')));
});

t.test('a gateway has no say in what the root issued, not even by saying it first', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { sites } = cloud;
  const other = await enrolStandIn(cloud, 'b');
  const stolen = await enrolStandIn(cloud, 'a');
  const root = parseCertificate(cloud.rootPem).extensions.subjectKeyId ?? '';
  const [own, others] = [parseCertificate(stolen.cert), parseCertificate(other.cert)];
  const says = ({ serial }: { readonly serial: string }) => ({
    kind: 'certificate_revoked',
    body: {
      ...{ issuer_key_id: root, serial, device: 'pump', reason: 'superseded', actor: 'site:x' },
      ...{ revoked_at: 1, expires_at: null },
    },
  });
  const thief = dial(stolen);
  t.teardown(() => thief.close());
  thief.hello();
  await thief.next('welcome');
  const lane = new StandInLog('audit');
  thief.say({ $case: 'journal', value: await lane.batch([says(own), says(others)]) });
  await thief.next('journalCommitted');

  await enrolStandIn(cloud, 'a', { replace: true });
  const call = { name: 'sites/a', gatewayId: stolen.enrolled.gatewayId, includeSiteCa: false };
  t.same(await cloud.call(sites, sites.revokeGateway, call), { serials: [own.serial] });
  const list = await get(cloud.ports.https, '/crl/root.crl', cloud.rootPem);
  t.ok(list.body.includes(Buffer.from(own.serial, 'hex')));
  t.notOk(list.body.includes(Buffer.from(others.serial, 'hex')));
  const link = dial(other);
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
});
