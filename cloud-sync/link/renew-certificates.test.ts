import { connect } from 'node:tls';
import { credentials, Metadata, Server } from '@grpc/grpc-js';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  LinkClient,
  type RenewCertificatesRequest,
  type RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { normaliseSerial, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { createKey, parseKey } from '@holdfast/provisioning/pki/keys';
import t from 'tap';
import { serverCredentials } from '../api/grpc-server.js';
import { openFleetAuthority } from '../certificates/fleet-authority.js';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { enrolStandIn, type LinkCredentials } from '../testing/gateway-stand-in.js';

const dayMs = 86_400_000;

const ask = (
  address: string,
  { root, key, cert }: LinkCredentials,
  request: RenewCertificatesRequest,
): Promise<RenewCertificatesResponse> => {
  const tls = credentials.createSsl(Buffer.from(root), Buffer.from(key), Buffer.from(cert));
  const client = new LinkClient(address, tls);
  const deadline = new Date(Date.now() + 10_000);
  return new Promise<RenewCertificatesResponse>((resolve, reject) => {
    client.renewCertificates(request, new Metadata(), { deadline }, (error, answer) => {
      if (error === null) resolve(answer);
      else reject(fromServiceError(error, address));
    });
  }).finally(() => client.close());
};

t.test(
  'a gateway gets new certificates by the one it has, and the same when it asks again',
  async (t) => {
    // OpenSSL looks at dates by the real clock, so the fleet's past is real too.
    let now = Date.now() - 300 * dayMs;
    const cloud = await cloudUnderTest(t, { now: () => now });
    const gateway = await enrolStandIn(cloud, 'site-a');
    const { linkAddress: address, siteCaCertificate } = gateway.enrolled;
    const key = parseKey(gateway.key);
    const siteCaKey = await createKey();
    const request = {
      gatewayCsr: Buffer.from(await createRequest(key, { commonName: 'gateway' })),
      siteCaCsr: Buffer.from(await createRequest(siteCaKey, { commonName: 'site CA' })),
    };
    const nothing = { gatewayCsr: Buffer.alloc(0), siteCaCsr: Buffer.alloc(0) };
    t.same(await ask(address, gateway, nothing), {
      gatewayCertificate: '',
      siteCaCertificate: '',
      formerSiteCaCertificates: [],
    });

    now += 200 * dayMs;
    const renewed = await ask(address, gateway, request);
    const certificate = parseCertificate(renewed.gatewayCertificate);
    t.ok(certificate.publicKey.equals(key.publicKey));
    t.ok(certificate.notAfter > now + 364 * dayMs);
    t.ok(parseCertificate(renewed.siteCaCertificate).publicKey.equals(siteCaKey.publicKey));
    const again = await ask(address, gateway, request);
    t.same(again, renewed, 'the answer was lost');
    const withNew = { ...gateway, cert: renewed.gatewayCertificate };
    t.same(await ask(address, withNew, request), renewed, 'the new one is on record');

    // Another gateway takes the site.
    const next = await enrolStandIn(cloud, 'site-a', { replace: true });
    await t.rejects(ask(address, withNew, request), { code: 'GATEWAY_FENCED' });
    const { formerSiteCaCertificates } = await ask(address, next, nothing);
    t.same(
      formerSiteCaCertificates.map((pem) => parseCertificate(pem).sha256).sort(),
      [siteCaCertificate, renewed.siteCaCertificate]
        .map((pem) => parseCertificate(pem).sha256)
        .sort(),
      'it learns whose certificates the devices of the site may have',
    );
  },
);

t.test('the control plane renews its own certificates while it runs', async (t) => {
  let now = Date.now() - 300 * dayMs;
  const folder = t.testdir();
  const authority = await openFleetAuthority({
    folder,
    fleet: 'f',
    hosts: ['127.0.0.1'],
    now: () => now,
  });
  const server = new Server();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials(authority.server), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(
        { host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] },
        () => {
          resolve(normaliseSerial(socket.getPeerCertificate().serialNumber));
          socket.destroy();
        },
      );
      socket.on('error', reject);
    });
  const first = await shown();
  const signer = authority.planSigner.certificate.serial;
  await authority.renew();
  t.equal(await shown(), first, 'not before it is time');
  now += 250 * dayMs;
  await authority.renew();
  t.not(await shown(), first);
  t.not(authority.planSigner.certificate.serial, signer);
  t.ok(authority.planSigner.certificate.notAfter > now + 364 * dayMs);
});
