import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import t, { type Test } from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const far = 4_000_000_000_000;

const open = async (t: Test) => {
  const cloud = await cloudUnderTest(t);
  const { sites, devices } = cloud;
  const former = await enrolStandIn(cloud, 'a');
  const authorityOf = (gateway: typeof former) =>
    parseCertificate(new Uint8Array(gateway.enrolled.siteCaCertificate)).extensions.subjectKeyId ??
    '';
  const link = dial(former);
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const lane = new StandInLog('audit');
  const report = async (...entries: { kind: string; body: object }[]) => {
    link.say({ $case: 'journal', value: await lane.batch(entries) });
    await link.next('journalCommitted');
  };
  const issuer = authorityOf(former);
  const revoked = (serial: string, more: object = {}) => ({
    kind: 'certificate_revoked',
    body: {
      ...{ device: 'pump', issuer_key_id: issuer, serial, reason: 'key_compromise' },
      ...{ actor: 'site:ann', revoked_at: 7, expires_at: far, ...more },
    },
  });
  await report({
    kind: 'device_enrolled',
    body: {
      ...{ device: 'pump', model: 'm', serial_no: '', door: 'native', certificate_serial: 'aa' },
      ...{ issuer_key_id: issuer, expires_at: far, claim_hash: null },
    },
  });
  const present = await enrolStandIn(cloud, 'a', { replace: true });
  await link.next('refused');
  const proposals = async (): Promise<string[]> => {
    const serials: string[] = [];
    let pageToken = '';
    do {
      const asked = { name: 'sites/a', pageSize: 400, pageToken };
      const page = await cloud.call(sites, sites.listRevocationProposals, asked);
      serials.push(...page.proposals.map(({ serial }) => serial));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return serials;
  };
  const settle = (accept: boolean, ...serials: string[]) =>
    cloud.call(sites, sites.settleRevocationProposals, { name: 'sites/a', accept, serials });
  const certificates = async () => {
    const asked = { parent: 'sites/a/devices/pump', pageSize: 0, pageToken: '' };
    const listed = await cloud.call(devices, devices.listDeviceCertificates, asked);
    return listed.certificates.map(({ serial, revokedBy }) => `${serial} ${revokedBy}`);
  };
  const root = parseCertificate(cloud.rootPem).extensions.subjectKeyId ?? '';
  return {
    ...{ report, revoked, proposals, settle, certificates, root },
    present: authorityOf(present),
  };
};

t.test('what a fenced gateway revokes holds when somebody accepts it', async (t) => {
  const { report, revoked, proposals, settle, certificates } = await open(t);
  await report(revoked('aa'), revoked('ab'));
  t.same(await proposals(), ['aa', 'ab']);
  t.same(await certificates(), ['aa '], 'nothing is revoked');
  t.same(await settle(true, 'aa', 'af'), { serials: ['aa'] });
  t.same(await certificates(), ['aa cloud:admin']);
  t.same(await settle(false), { serials: ['ab'] });
  t.same(await proposals(), []);
  t.same(await settle(true), { serials: [] });
  await report(revoked('aa'));
  t.same(await proposals(), [], 'it holds already');
});

t.test('nobody is asked of what needs no answer, or is not its to say', async (t) => {
  const { report, revoked, proposals, root, present } = await open(t);
  await report(
    revoked('b0', { reason: 'superseded', actor: 'site:renewal' }),
    revoked('b1', { expires_at: Date.now() - 91 * 86_400_000 }),
    revoked('b2', { device: null }),
    revoked('b3', { issuer_key_id: root }),
    revoked('b4', { issuer_key_id: present }),
    revoked('b5', { reason: 'superseded', actor: 'site:enrolment' }),
  );
  t.same(await proposals(), ['b5']);
  const many = Array.from({ length: 1_100 }, (_, index) => revoked(`c${index}`));
  await report(...many);
  t.equal(new Set(await proposals()).size, 1_000, 'and only of so many');
});
