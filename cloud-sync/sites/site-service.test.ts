import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { createKey } from '@holdfast/provisioning/pki/keys';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';

const create = (cloud: CloudUnderTest, siteId: string) =>
  cloud.call(cloud.sites, cloud.sites.createSite, { siteId, site: undefined });
const codeFor = async (cloud: CloudUnderTest, site: string, replace = false) => {
  const { code } = await cloud.call(cloud.sites, cloud.sites.createGatewayCode, {
    name: `sites/${site}`,
    replace,
    lifetimeSeconds: 60,
  });
  return parseClaimCode(code, 'gateway');
};
const requests = async () => ({
  gatewayCsr: Buffer.from(await createRequest(await createKey(), { commonName: 'g' })),
  siteCaCsr: Buffer.from(await createRequest(await createKey(), { commonName: 'c' })),
  version: '1.2.3',
});
const enrol = (
  cloud: CloudUnderTest,
  request: Awaited<ReturnType<typeof requests>> & { secret: string },
) => cloud.call(cloud.sites, cloud.sites.enrollGateway, request, { token: '' });

t.test('creates, lists, changes and deletes sites', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { sites } = cloud;
  for (const id of ['c', 'a', 'b']) await create(cloud, id);
  await t.rejects(create(cloud, 'a'), { code: 'RESOURCE_EXISTS' });
  await t.rejects(create(cloud, 'no/slash'), { code: 'REQUEST_INVALID' });
  const first = await cloud.call(sites, sites.listSites, { pageSize: 2, pageToken: '' });
  t.same(
    first.sites.map(({ name }) => name),
    ['sites/a', 'sites/b'],
  );
  const second = await cloud.call(sites, sites.listSites, {
    pageSize: 2,
    pageToken: first.nextPageToken,
  });
  t.same(
    second.sites.map(({ name }) => name),
    ['sites/c'],
  );
  t.equal(second.nextPageToken, '');

  const site = { ...(await cloud.call(sites, sites.getSite, { name: 'sites/a' })) };
  const changed = await cloud.call(sites, sites.updateSite, {
    site: { ...site, displayName: 'Mill' },
    updateMask: ['display_name'],
  });
  t.match(changed, { displayName: 'Mill', gateway: undefined });
  await t.rejects(
    cloud.call(sites, sites.updateSite, {
      site: { ...site, displayName: 'x' },
      updateMask: undefined,
    }),
    { code: 'RESOURCE_CONFLICT' },
    'somebody else was faster',
  );
  await cloud.call(sites, sites.deleteSite, { name: 'sites/a', etag: changed.etag });
  await t.rejects(cloud.call(sites, sites.getSite, { name: 'sites/a' }), {
    code: 'RESOURCE_NOT_FOUND',
  });
  const { entries } = await cloud.call(cloud.audit, cloud.audit.listAuditEntries, {
    ...{ pageSize: 0, pageToken: '', resource: 'sites/a', site: '', action: '' },
    ...{ since: undefined, until: undefined },
  });
  t.match(entries, [{ action: 'site.deleted', actor: 'cloud:admin' }]);
});

t.test('a code enrols one gateway, and repeats the answer that was lost', async (t) => {
  const cloud = await cloudUnderTest(t);
  await create(cloud, 'a');
  const code = await codeFor(cloud, 'a');
  t.equal(code.address, cloud.address);
  const request = { ...(await requests()), secret: code.secret };
  const [answer, twin] = await Promise.all([enrol(cloud, request), enrol(cloud, request)]);
  t.same(twin, answer);
  t.same(await enrol(cloud, request), answer);
  await t.rejects(
    requests().then((other) => enrol(cloud, { ...other, secret: code.secret })),
    { code: 'CLAIM_CODE_INVALID', message: /used already/ },
  );

  const root = parseCertificate(new Uint8Array(answer.rootCertificate));
  t.equal(root.sha256, code.rootSha256);
  const verdict = verifyChain({
    certificate: new Uint8Array(answer.gatewayCertificate),
    root,
    role: 'gateway',
    at: Date.now(),
    site: 'a',
  });
  t.match(verdict, { identity: { fleet: 'test', site: 'a', name: answer.gatewayId } });
  t.match(answer, { site: 'a', fleet: 'test', epoch: 1n });
  t.equal(answer.linkAddress, `127.0.0.1:${cloud.ports.link}`);
});

t.test('only a code that replaces puts a gateway in the place of another', async (t) => {
  const cloud = await cloudUnderTest(t);
  await create(cloud, 'a');
  const late = await codeFor(cloud, 'a');
  const code = await codeFor(cloud, 'a');
  await enrol(cloud, { ...(await requests()), secret: code.secret });
  await t.rejects(codeFor(cloud, 'a'), { code: 'RESOURCE_CONFLICT' });
  await t.rejects(
    requests().then((other) => enrol(cloud, { ...other, secret: late.secret })),
    { code: 'RESOURCE_CONFLICT' },
  );
  const replacing = await codeFor(cloud, 'a', true);
  const answer = await enrol(cloud, { ...(await requests()), secret: replacing.secret });
  t.equal(answer.epoch, 2n);
});

t.test('a code ends when its time is over; a bad request does not use it up', async (t) => {
  let now = Date.now();
  const cloud = await cloudUnderTest(t, { now: () => now });
  await create(cloud, 'a');
  const code = await codeFor(cloud, 'a');
  const request = { ...(await requests()), secret: code.secret };
  await t.rejects(enrol(cloud, { ...request, siteCaCsr: Buffer.from('x') }), {
    code: 'CERTIFICATE_REQUEST_INVALID',
  });
  now += 61_000;
  await t.rejects(enrol(cloud, request), { code: 'CLAIM_CODE_INVALID', message: /expired/ });
  now -= 2_000;
  t.equal((await enrol(cloud, request)).epoch, 1n);
});
