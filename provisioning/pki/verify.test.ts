import 'reflect-metadata';
import { generateKeyPairSync } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
} from '@peculiar/x509';
import t from 'tap';
import type { Certificate } from './certificate.js';
import { issueDevice, issueGatewayServer, issueSiteCa } from './issue.js';
import { createKey } from './keys.js';
import { keyUsages } from './oids.js';
import { createTestFleet, forge } from './test-fleet.js';
import { type Role, type VerifyRequest, verifyChain } from './verify.js';

const dayMs = 86_400_000;
const fleet = await createTestFleet();
const { now, root, siteCa } = fleet;
const device = await fleet.device('device-1');

const verify = (request: Partial<VerifyRequest> & Pick<VerifyRequest, 'certificate'>) =>
  verifyChain({
    intermediates: [siteCa.certificate],
    root: root.certificate,
    role: 'device',
    at: now,
    ...request,
  });

const deviceName = { organization: 'fleet-a', unit: 'site-a', commonName: 'device-1' };
const client = new ExtendedKeyUsageExtension([keyUsages.clientAuth]);

t.test('says who a device is, its chain in DER as a peer sends it', async (t) => {
  const verdict = verify({
    certificate: device.certificate.der,
    intermediates: [root.certificate.der, siteCa.certificate.der],
    site: 'site-a',
  });
  const { serial } = device.certificate;
  const issuerSerial = siteCa.certificate.serial;
  t.same(verdict, {
    identity: { fleet: 'fleet-a', site: 'site-a', name: 'device-1', serial, issuerSerial },
  });
  t.match(serial, /^[4-7][0-9a-f]{31}$/);
});

t.test('a certificate has its own role and no other', async (t) => {
  const certificates: Record<Role, Certificate> = {
    device: device.certificate,
    gateway: (await fleet.gateway('gateway-1')).certificate,
    'gateway-server': (await fleet.gatewayServer('gateway-1')).certificate,
    'control-plane': (await fleet.controlPlane()).certificate,
    'plan-signer': (await fleet.planSigner()).certificate,
  };
  const roles = Object.keys(certificates) as Role[];
  for (const own of roles) {
    for (const role of roles) {
      const { refused } = verify({ certificate: certificates[own], role });
      if (own === role) t.equal(refused, undefined, `${own} as ${role}`);
      else t.match(refused, /^(usage|issuer)$/, `${own} as ${role}`);
    }
  }
  for (const authority of [siteCa, root]) {
    t.equal(verify({ certificate: authority.certificate }).refused, 'usage');
  }
});

t.test('a site CA can make neither gateways nor a control plane', async (t) => {
  const usages = new ExtendedKeyUsageExtension([keyUsages.clientAuth, keyUsages.gateway]);
  const gateway = await forge(siteCa, deviceName, [usages]);
  t.equal(verify({ certificate: gateway.certificate, role: 'gateway' }).refused, 'issuer');
  const server = await forge(siteCa, deviceName, [
    new ExtendedKeyUsageExtension([keyUsages.serverAuth]),
    new SubjectAlternativeNameExtension([{ type: 'dns', value: 'cloud.example.org' }]),
  ]);
  const asCloud = verify({
    certificate: server.certificate,
    role: 'control-plane',
    host: 'cloud.example.org',
  });
  t.equal(asCloud.refused, 'issuer');
});

t.test('a site CA can name no other site, and a site expects no other', async (t) => {
  const named = { ...deviceName, unit: 'site-b' };
  const foreign = await forge(siteCa, named, [client]);
  t.equal(verify({ certificate: foreign.certificate }).refused, 'constraint');

  const other = await fleet.otherSite('site-b');
  const visitor = (await other.device('device-1')).certificate;
  const intermediates = [other.siteCa.certificate];
  t.equal(verify({ certificate: visitor, intermediates }).refused, undefined);
  t.equal(verify({ certificate: visitor, intermediates, site: 'site-a' }).refused, 'site');
});

t.test('holds issuer and name together even under an authority without constraints', async (t) => {
  const loose = await forge(root, { organization: 'fleet-a', unit: 'site-b', commonName: 'CA' }, [
    new BasicConstraintsExtension(true, 0, true),
    new SubjectKeyIdentifierExtension('0102030405060708'),
  ]);
  const forged = await forge(loose, deviceName, [client]);
  const intermediates = [loose.certificate];
  t.equal(verify({ certificate: forged.certificate, intermediates }).refused, 'site');
});

t.test('an authority below a site CA, and a device as an authority, sign nothing', async (t) => {
  const below = await forge(siteCa, { ...deviceName, commonName: 'sub CA' }, [
    new BasicConstraintsExtension(true, undefined, true),
  ]);
  const deep = await forge(below, deviceName, [client]);
  const intermediates = [below.certificate, siteCa.certificate];
  t.equal(verify({ certificate: deep.certificate, intermediates }).refused, 'chain');

  const made = await forge(device, deviceName, [client]);
  const withDevice = [device.certificate, siteCa.certificate];
  t.equal(verify({ certificate: made.certificate, intermediates: withDevice }).refused, 'chain');

  // Two links are few enough, so here it is the constraint that refuses.
  const gateway = await fleet.gateway('gateway-1');
  const byGateway = await forge(gateway, deviceName, [client]);
  const short = [gateway.certificate];
  t.equal(
    verify({ certificate: byGateway.certificate, intermediates: short }).refused,
    'authority',
  );
});

t.test('another root of the same name does not count, nor does a changed byte', async (t) => {
  const twin = await createTestFleet();
  t.equal(
    verify({ certificate: device.certificate, root: twin.root.certificate }).refused,
    'chain',
  );
  t.equal(verify({ certificate: device.certificate, intermediates: [] }).refused, 'chain');
  const der = device.certificate.der.slice();
  const at = Buffer.from(der).indexOf('device-1');
  der[at + 7] = '2'.charCodeAt(0);
  t.equal(verify({ certificate: der }).refused, 'chain');
  t.equal(verify({ certificate: new Uint8Array([1, 2, 3]) }).refused, 'malformed');
});

t.test('refuses weak keys, strange names and critical extensions it does not know', async (t) => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const weakly = await forge(siteCa, deviceName, [client], weak);
  t.equal(verify({ certificate: weakly.certificate }).refused, 'algorithm');

  for (const commonName of ['', 'a/b', '+', 'x'.repeat(65)]) {
    const named = await forge(siteCa, { ...deviceName, commonName }, [client]);
    t.equal(verify({ certificate: named.certificate }).refused, 'name', `"${commonName}"`);
  }
  const unknown = new Extension('1.2.3.4', true, new Uint8Array([5, 0]));
  const strange = await forge(siteCa, deviceName, [client, unknown]);
  t.equal(verify({ certificate: strange.certificate }).refused, 'malformed');
});

t.test('accepts a device with an RSA key of 2048 bits', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certificate = await issueDevice(siteCa, publicKey, { device: 'rsa-1', now });
  t.equal(verify({ certificate }).identity?.name, 'rsa-1');
});

t.test('a server is for its alternative names alone', async (t) => {
  const { certificate } = await fleet.gatewayServer('gateway-1');
  const role = 'gateway-server';
  for (const host of ['localhost', '127.0.0.1']) {
    t.equal(verify({ certificate, role, host }).refused, undefined, host);
  }
  for (const host of ['gateway-1', '127.0.0.2', 'example.org']) {
    t.equal(verify({ certificate, role, host }).refused, 'host', host);
  }
});

t.test('asks of every certificate but the root whether it is revoked', async (t) => {
  const asked: string[][] = [];
  verify({
    certificate: device.certificate,
    isRevoked: (...of) => {
      asked.push(of);
      return false;
    },
  });
  t.same(asked, [
    [siteCa.certificate.extensions.subjectKeyId, device.certificate.serial],
    [root.certificate.extensions.subjectKeyId, siteCa.certificate.serial],
  ]);
  for (const { serial } of [device.certificate, siteCa.certificate]) {
    const isRevoked = (_: string, of: string) => of === serial;
    // Long after: it stays revoked, expired or not.
    const verdict = verify({ certificate: device.certificate, isRevoked, at: now + 9_999 * dayMs });
    t.equal(verdict.refused, 'revoked');
  }
});

t.test(
  'looks at dates by the time it is given, and at none while the clock is untrusted',
  async (t) => {
    const certificate = device.certificate;
    t.equal(verify({ certificate, at: now + 366 * dayMs }).refused, 'expired');
    t.equal(verify({ certificate, at: 0 }).refused, 'not-yet-valid');
    t.equal(verify({ certificate, at: 'unchecked' }).refused, undefined);
    const ahead = await issueDevice(siteCa, (await createKey()).publicKey, {
      device: 'pump',
      now: now + 365 * dayMs,
    });
    t.equal(verify({ certificate: ahead }).refused, 'not-yet-valid');
    t.equal(verify({ certificate: ahead, aheadForMs: 365 * dayMs }).refused, undefined);
    const short = await issueGatewayServer(siteCa, (await createKey()).publicKey, {
      gateway: 'gateway-1',
      hosts: ['localhost'],
      now,
      lifetimeMs: 1_000,
    });
    const role = 'gateway-server';
    t.equal(verify({ certificate: short, role, at: short.notAfter }).refused, undefined);
    t.equal(verify({ certificate: short, role, at: short.notAfter + 1 }).refused, 'expired');
    const late = { certificate: short, role, at: short.notAfter + dayMs } as const;
    t.equal(verify({ ...late, expiredForMs: dayMs }).refused, undefined);
    t.equal(verify({ ...late, expiredForMs: dayMs - 1 }).refused, 'expired');
  },
);

t.test(
  'goes by the newest certificate of an authority that was renewed with its key',
  async (t) => {
    const later = now + 300 * dayMs;
    const renewed = await issueSiteCa(root, siteCa.key.publicKey, { site: 'site-a', now: later });
    const fresh = await issueDevice(siteCa, device.key.publicKey, {
      device: 'device-1',
      now: later,
    });
    const at = later + 200 * dayMs;
    const certificate = fresh.der;
    t.equal(verify({ certificate, at }).refused, 'expired');
    const both = [siteCa.certificate, renewed];
    t.equal(verify({ certificate, at, intermediates: both }).refused, undefined);
  },
);

t.test(
  'a peer that sends a hundred certificates costs no more than one that sends a few',
  async (t) => {
    const many = Array.from({ length: 100 }, () => device.certificate.der);
    const intermediates = [...many, siteCa.certificate];
    t.equal(verify({ certificate: device.certificate, intermediates }).refused, 'chain');
  },
);
