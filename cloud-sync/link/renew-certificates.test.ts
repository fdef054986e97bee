import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { credentials, Metadata, Server } from '@grpc/grpc-js';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  LinkClient,
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { lateRenewalPath } from '@holdfast/protos/link/late-renewal';
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

/** Over HTTPS, as the gateway does whose certificate has run out. */
const askLate = async (
  address: string,
  { root, key, cert }: LinkCredentials,
  sent: RenewCertificatesRequest | Buffer,
): Promise<{ status: number; renewed: RenewCertificatesResponse | undefined }> => {
  const asked = httpsRequest(`${address}${lateRenewalPath}`, {
    ...{ method: 'POST', ca: root, key, cert, agent: false },
  });
  asked.end(Buffer.isBuffer(sent) ? sent : RenewCertificatesRequest.encode(sent).finish());
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const body = await buffer(response);
  const status = response.statusCode ?? 0;
  return { status, renewed: status === 200 ? RenewCertificatesResponse.decode(body) : undefined };
};

t.test('one that ran out while it was cut off has a way back, for a year', async (t) => {
  let now = Date.now() - 300 * dayMs;
  const cloud = await cloudUnderTest(t, { now: () => now });
  const gateway = await enrolStandIn(cloud, 'site-a');
  const { httpsAddress } = gateway.enrolled;
  const request = {
    gatewayCsr: Buffer.from(await createRequest(parseKey(gateway.key), { commonName: 'gateway' })),
    siteCaCsr: Buffer.from(await createRequest(await createKey(), { commonName: 'site CA' })),
  };
  now += 500 * dayMs;
  const { renewed } = await askLate(httpsAddress, gateway, request);
  const certificate = parseCertificate(renewed?.gatewayCertificate ?? '');
  t.ok(certificate.publicKey.equals(parseKey(gateway.key).publicKey));
  t.equal(certificate.notAfter, Math.floor((now + 365 * dayMs) / 1_000) * 1_000);
  t.ok(parseCertificate(renewed?.siteCaCertificate ?? '').notAfter > now);
  t.same((await askLate(httpsAddress, gateway, request)).renewed, renewed, 'the answer was lost');
  t.equal((await askLate(httpsAddress, gateway, Buffer.alloc(20_000, 1))).status, 400);
  t.equal((await askLate(httpsAddress, { ...gateway, cert: '', key: '' }, request)).status, 401);
  now += 231 * dayMs;
  t.equal((await askLate(httpsAddress, gateway, request)).status, 401, 'a year and a day after');
  const withNew = { ...gateway, cert: renewed?.gatewayCertificate ?? '' };
  t.equal((await askLate(httpsAddress, withNew, request)).status, 200);
  await enrolStandIn(cloud, 'site-a', { replace: true });
  t.equal((await askLate(httpsAddress, withNew, request)).status, 409, 'another owns the site');
});

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
