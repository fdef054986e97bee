import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { RenewCertificatesRequest } from '@holdfast/protos/gen/holdfast/v1/link';
import { parseCertificates } from '@holdfast/provisioning/pki/certificate';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { issueDevice, issueGateway, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import { createKey } from '@holdfast/provisioning/pki/keys';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { enrol } from '../faults/enrolled-site.js';
import { loadGatewayIdentity } from './gateway-identity.js';
import { GatewayRenewal } from './gateway-renewal.js';
import { ServerCertificate } from './server-certificate.js';

const dayMs = 86_400_000;
const start = Date.UTC(2026, 0, 1);

const setUp = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gateway-renewal-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const clock = new ManualClock(start);
  const fleet = await createTestFleet({ now: start });
  const { root } = fleet;
  await enrol(fleet, folder);
  const logged: string[] = [];
  const log = {
    info: () => undefined,
    warn: () => undefined,
    error: (data: object) => void logged.push(JSON.stringify(data)),
  };
  const load = () => loadGatewayIdentity({ dataDirectory: folder, token: undefined }, log);
  const identity = await load();
  const certificate = await ServerCertificate.open(
    { siteCa: identity.siteCa, root: identity.root, clock, log, hosts: () => ['127.0.0.1'] },
    { dataDirectory: folder, gatewayId: 'gw-1' },
  );
  // A gateway before this one had another key.
  const before = await createKey();
  const former = await issueSiteCa(root, before.publicKey, { site: fleet.site, now: start });
  let asked = 0;
  let askedLate = 0;
  let isLost = false;
  /** What the control plane believes. */
  const world = new ManualClock(start);
  const renewal = new GatewayRenewal({
    ...{ identity, clock, log },
    ask: async (request) => {
      asked += 1;
      return answer(request);
    },
    askLate: async (request) => {
      askedLate += 1;
      return answer(request);
    },
    onRenewed: () => certificate.show(),
  });
  const answer = async ({ gatewayCsr, siteCaCsr }: RenewCertificatesRequest) => {
    const now = Math.max(clock.now(), world.now());
    const { site } = fleet;
    const issue = async (csr: Buffer, role: 'gateway' | 'site-ca'): Promise<string> => {
      if (csr.length === 0) return '';
      const { publicKey } = await parseRequest(csr);
      const issued =
        role === 'gateway'
          ? await issueGateway(root, publicKey, { site, gateway: 'gw-1', now })
          : await issueSiteCa(root, publicKey, { site, now });
      return issued.pem;
    };
    const answer = {
      gatewayCertificate: await issue(gatewayCsr, 'gateway'),
      siteCaCertificate: await issue(siteCaCsr, 'site-ca'),
      formerSiteCaCertificates: [former.pem],
    };
    if (isLost) throw new HoldfastError('CONNECTION_FAILED', 'the answer was lost');
    return answer;
  };
  return {
    ...{ world, clock, fleet, identity, load, certificate, renewal, logged },
    former: { certificate: former, key: before },
    asked: () => asked,
    askedLate: () => askedLate,
    lose: (value: boolean) => {
      isLost = value;
    },
  };
};

const stateOf = (renewal: GatewayRenewal) => renewal.states().map(({ state }) => state);

t.test('renews from half of a life on, with its keys, and devices go on trusting', async (t) => {
  const { clock, fleet, identity, load, certificate, renewal, former, asked, lose } =
    await setUp(t);
  const device = await fleet.device('pump');
  const ofFormer = await issueDevice(former, device.key.publicKey, { device: 'old', now: start });
  await renewal.check(true);
  await renewal.check(true);
  t.equal(asked(), 1, 'once at the start, for the CAs of gateways before it');
  t.same(
    identity.siteCas.map(({ sha256 }) => sha256),
    [fleet.siteCa.certificate.sha256, former.certificate.sha256],
  );
  clock.advance(210 * dayMs);
  t.same(stateOf(renewal), ['due', 'due']);
  await renewal.check(false);
  t.equal(asked(), 1, 'not while the link is down');
  lose(true);
  await renewal.check(true);
  t.same(stateOf(renewal), ['due', 'due']);
  lose(false);
  let shown = '';
  certificate.onChange(({ cert }) => {
    shown = cert;
  });
  await renewal.check(true);
  t.same(stateOf(renewal), ['ok', 'ok']);
  t.ok(identity.siteCa.certificate.notAfter > clock.now() + 364 * dayMs);
  const kept = await load();
  t.equal(kept.siteCa.certificate.sha256, identity.siteCa.certificate.sha256);
  t.equal(kept.link.certificate.sha256, identity.link.certificate.sha256);

  clock.advance(200 * dayMs);
  const at = clock.now();
  const [own, ...chain] = parseCertificates(shown);
  if (own === undefined) throw new Error('nothing was shown');
  const { root, site } = fleet;
  const asDevice = { root: root.certificate, site, role: 'gateway-server', at } as const;
  t.match(
    verifyChain({ ...asDevice, certificate: own, intermediates: chain }),
    { identity: { name: 'gw-1' } },
    'past the end of the first site CA, a device that has only the root trusts what it is shown',
  );
  const fresh = await issueDevice(identity.siteCa, device.key.publicKey, {
    device: 'pump',
    now: at,
  });
  const asGateway = { root: root.certificate, site, role: 'device' } as const;
  for (const [one, when] of [
    [fresh, at],
    [device.certificate, start + 364 * dayMs],
    [ofFormer, start + 364 * dayMs],
  ] as const) {
    const { identity: who } = verifyChain({
      ...asGateway,
      certificate: one,
      intermediates: identity.siteCas,
      at: when,
    });
    t.ok(who, 'certificates from before the renewal, and from another gateway, hold on');
  }
});

t.test('tells early that the site CA runs out while the WAN is away', async (t) => {
  const { clock, renewal, logged, lose } = await setUp(t);
  lose(true);
  clock.advance(240 * dayMs);
  await renewal.check(true);
  t.same(logged, [], 'it is only due');
  clock.advance(10 * dayMs);
  t.same(stateOf(renewal), ['alarm', 'alarm'], 'a third of its life before the end');
  await renewal.check(false);
  t.match(logged.join(), /site_ca/);
  clock.advance(120 * dayMs);
  t.same(stateOf(renewal), ['expired', 'expired']);
  clock.trusted = false;
  t.same(stateOf(renewal), ['ok', 'ok'], 'a clock that is not trusted expires nothing');
});

t.test('what has run out is asked for where the link is not needed', async (t) => {
  const { clock, identity, renewal, asked, askedLate, lose } = await setUp(t);
  clock.advance(360 * dayMs);
  await renewal.knock(false);
  t.equal(askedLate(), 0, 'not while the link may come up by itself');
  clock.advance(30 * dayMs);
  lose(true);
  await renewal.knock(false);
  t.same(stateOf(renewal), ['expired', 'expired'], 'the WAN is still away');
  lose(false);
  await renewal.knock(false);
  t.same(stateOf(renewal), ['ok', 'ok']);
  t.ok(identity.siteCa.certificate.notAfter > clock.now() + 364 * dayMs);
  await renewal.knock(false);
  t.equal(askedLate(), 2, 'and no more');
  t.equal(asked(), 0);
});

t.test('a gateway that lost the time while its certificates ran out asks in doubt', async (t) => {
  const { world, clock, identity, renewal, askedLate } = await setUp(t);
  world.advance(500 * dayMs);
  clock.trusted = false;
  await renewal.knock(true);
  t.equal(askedLate(), 0, 'the link is up');
  await renewal.knock(false);
  t.ok(identity.link.certificate.notAfter > world.now());
  t.ok(identity.siteCa.certificate.notAfter > world.now());
});
