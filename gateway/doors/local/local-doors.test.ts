import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import { parseCertificate, pemChain } from '@holdfast/provisioning/pki/certificate';
import { createSecret, hashClaim } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import {
  issueDevice,
  issueGatewayServer,
  issueRoot,
  issueSiteCa,
} from '@holdfast/provisioning/pki/issue';
import { createKey, type KeyPair, privatePem } from '@holdfast/provisioning/pki/keys';
import { socketClosed } from '@holdfast/provisioning/program/socket-closed';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { ManualSchedule } from '@holdfast/provisioning/time/manual-schedule';
import t, { type Test } from 'tap';
import { openDevices } from '../../devices/devices.js';
import { FirmwareCache } from '../../firmware/firmware-cache.js';
import { ImageServer } from '../../firmware/image-server.js';
import { openFirmwareUrls } from '../../firmware/signed-url.js';
import { Commands } from '../../jobs/commands.js';
import { openShadows } from '../../shadows/shadows.js';
import { Outbox } from '../../store/outbox.js';
import { siteMigrations } from '../../store/site-migrations.js';
import { siteStore } from '../../store/site-store.js';
import { DeviceEnrolment } from '../../trust/device-enrolment.js';
import { identifyDevice } from '../../trust/identify-device.js';
import { identifyUrl } from '../../trust/identify-url.js';
import { Manufacturers } from '../../trust/manufacturers.js';
import { createOperatorToken, hashOperatorToken } from '../../trust/operator-token.js';
import { openPeople } from '../../trust/people/open-people.js';
import { Revocations } from '../../trust/revocations.js';
import { SiteClaims } from '../../trust/site-claims.js';
import { SerialLines } from '../serial/serial-lines.js';
import { openDeviceDoor } from './device-door.js';
import { openPeopleDoor } from './people-door.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const image = randomBytes(200_000);
const sha256 = createHash('sha256').update(image).digest('hex');

const openSite = async (t: Test, { requestTimeoutMs = 60_000 } = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'doors-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const clock = new ManualClock(Date.now());
  const outbox = new Outbox({ store, log });
  const lane = { appended: () => undefined };
  const site = siteStore({ store, outbox, lanes: { audit: lane, state: lane } });
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 5 });
  const shadows = await openShadows({ site, clock, log: store.log });
  let published = 0;
  const publish = async (): Promise<void> => {
    published += 1;
  };
  const commands = new Commands({
    ...{ site, outbox, devices, publish, clock, log },
    isFenced: () => false,
  });
  await commands.open();
  await writeFile(join(folder, sha256), image);
  const source = { address: 'https://127.0.0.1:1', agent: undefined as never };
  const firmware = new FirmwareCache({ source, log, now: clock.now }, { folder, quotaBytes: 1e6 });
  await firmware.open();

  const now = clock.now();
  const rootKey = await createKey();
  const root = await issueRoot(rootKey, { fleet: 'f', now });
  const caKey = await createKey();
  const caOf = async (site: string, key: KeyPair) => ({
    certificate: await issueSiteCa({ certificate: root, key: rootKey }, key.publicKey, {
      site,
      now,
    }),
    key,
  });
  const siteCa = await caOf('farm', caKey);
  const serverKey = await createKey();
  const server = await issueGatewayServer(siteCa, serverKey.publicKey, {
    gateway: 'g',
    hosts: ['127.0.0.1'],
    now,
  });
  const tls = { cert: pemChain(server, siteCa.certificate, root), key: privatePem(serverKey) };
  const secret = createSecret();
  const isRevoked = () => false;
  const claims = new SiteClaims({
    store: site,
    clock,
    planned: () => [
      {
        hash: hashClaim(secret, 'farm'),
        device_id: 'pump',
        model: null,
        expires_at: now + 1e6,
      },
    ],
    site: 'farm',
  });
  const enrolment = new DeviceEnrolment(
    {
      site,
      clock,
      siteCa,
      root,
      claims,
      manufacturers: new Manufacturers({ clock, planned: () => [], isRevoked }),
      revocations: await Revocations.open({ site, clock, log }),
      admit: devices.admit,
      admitted: devices.admitted,
      known: (device) => {
        const known = devices.get(device);
        return known && { model: known.model, lifecycle: 'active' };
      },
      lifetimes: () => sitePolicy(undefined).deviceCertificates,
      requireWritable: () => undefined,
      ports: () => ({ mqtts: 8883, https: 8443 }),
    },
    { fleet: 'f', site: 'farm' },
  );
  const listen = { host: '127.0.0.1', port: 0, tls, requestTimeoutMs };
  const identify = identifyDevice({
    root,
    siteCas: () => [siteCa.certificate],
    site: 'farm',
    isRevoked: () => false,
    refusal: () => undefined,
    clock,
  });
  const urls = await openFirmwareUrls(
    { clock, schedule: new ManualSchedule().schedule, log },
    { path: join(folder, 'urls.json') },
  );
  const unserved = new Set<string>();
  /** Devices that may load nothing now. */
  const stopped = new Set<string>();
  const deviceDoor = await openDeviceDoor(
    {
      enrolment,
      images: new ImageServer({ firmware, log }),
      mayLoad: (device) => !stopped.has(device),
      log,
      identify,
      identifyForRenewal: identify,
      identifyByUrl: identifyUrl({
        verify: urls.verify,
        refusal: (device) => (unserved.has(device) ? 'it is disabled' : undefined),
      }),
    },
    listen,
  );
  const token = createOperatorToken();
  let isFenced = false;
  const people = await openPeople(
    { site, clock, log, plan: { current: () => undefined }, onClose: () => undefined },
    { users: [], sessionIdleMs: 60_000, sessionLifetimeMs: 60_000 },
  );
  const peopleDoor = await openPeopleDoor(
    {
      serialLines: new SerialLines({ now: Date.now, log }),
      status: () => ({ site: 'farm', devices: devices.count() }),
      devices,
      shadows,
      commands,
      log,
      telemetry: { latest: () => [{ series: 'temp', ts: 1, value: 2 }] },
      claims,
      codeOf: (made) => `hfd1-${made}`,
      fence: {
        check: () => {
          if (isFenced) throw Object.assign(new Error('fenced'), {});
        },
      },
      operatorTokenSha256: () => hashOperatorToken(token),
      people,
      noteChange: async () => undefined,
      now: clock.now,
      monotonic: clock.monotonic,
    },
    listen,
  );
  t.teardown(async () => {
    await Promise.all([deviceDoor.close(), peopleDoor.close()]);
    await commands.close();
    await outbox.close();
    await devices.close();
    await firmware.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  const certificateOf = async (device: string, ca = siteCa) => {
    const key = await createKey();
    const certificate = await issueDevice(ca, key.publicKey, { device, now });
    return { cert: pemChain(certificate, ca.certificate), key: privatePem(key) };
  };
  const foreign = await certificateOf('pump', await caOf('other', await createKey()));
  const ask = async (
    port: number,
    method: string,
    path: string,
    more: {
      body?: unknown;
      headers?: Record<string, string>;
      client?: { cert: string; key: string };
    } = {},
  ) => {
    const request = httpsRequest({
      host: '127.0.0.1',
      port,
      method,
      path,
      ca: root.pem,
      agent: false,
      headers: more.headers,
      ...more.client,
    });
    const { body } = more;
    request.end(
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    );
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    const isJson = response.headers['content-type'] === 'application/json';
    return {
      status: response.statusCode,
      headers: response.headers,
      bytes,
      json: isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined,
    };
  };
  const operator = (method: string, path: string, body?: unknown) =>
    ask(peopleDoor.port, method, `/api/v1${path}`, {
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body }),
    });
  return {
    folder,
    clock,
    urls,
    unserved,
    stopped,
    devices,
    shadows,
    firmware,
    secret,
    root,
    siteCa,
    foreign,
    certificateOf,
    ask,
    operator,
    deviceDoor,
    peopleDoor,
    outbox,
    published: () => published,
    fence: () => {
      isFenced = true;
    },
  };
};

t.test('a device enrols with a code and then gets firmware with its certificate', async (t) => {
  const { ask, deviceDoor, secret, devices, root } = await openSite(t);
  const key = await createKey();
  const der = Buffer.from(await createRequest(key, { commonName: 'x' })).toString('base64');
  const csr = `-----BEGIN CERTIFICATE REQUEST-----\n${der}\n-----END CERTIFICATE REQUEST-----\n`;
  const body = { secret, csr, model: 'pi', serial_no: '7', firmware_version: '1' };
  const answer = await ask(deviceDoor.port, 'POST', '/api/v1/enroll', { body });
  t.equal(answer.status, 200);
  t.match(answer.json, { device_id: 'pump', site: 'farm', ports: { mqtts: 8883 }, root: root.pem });
  t.match(devices.get('pump'), {
    model: 'pi',
    serialNo: '7',
    firmwareVersion: '1',
    door: 'native',
  });
  const again = await ask(deviceDoor.port, 'POST', '/api/v1/enroll', { body });
  t.equal(again.json.certificate, answer.json.certificate, 'the answer may have been lost');
  const client = {
    cert: pemChain(
      parseCertificate(answer.json.certificate),
      parseCertificate(answer.json.site_ca),
    ),
    key: privatePem(key),
  };
  const path = `/firmware/sha256/${sha256}`;
  const whole = await ask(deviceDoor.port, 'GET', path, { client });
  t.equal(whole.status, 200);
  t.ok(whole.bytes.equals(image));
  const part = await ask(deviceDoor.port, 'GET', path, {
    client,
    headers: { range: 'bytes=100-' },
  });
  t.equal(part.status, 206);
  t.ok(part.bytes.equals(image.subarray(100)));
  const head = await ask(deviceDoor.port, 'HEAD', path, { client });
  t.match(head, { status: 200, headers: { 'content-length': '200000', etag: `"${sha256}"` } });
  t.equal(head.bytes.length, 0);
});

t.test('firmware is for devices of this site alone', async (t) => {
  const { ask, deviceDoor, foreign, certificateOf, clock } = await openSite(t);
  const path = `/firmware/sha256/${sha256}`;
  t.match(await ask(deviceDoor.port, 'GET', path), {
    status: 401,
    json: { code: 'PEER_REFUSED', next: /enrolled/ },
  });
  t.match(await ask(deviceDoor.port, 'GET', path, { client: foreign }), {
    json: { code: 'PEER_REFUSED' },
  });
  const own = await certificateOf('pump');
  t.equal((await ask(deviceDoor.port, 'GET', path, { client: own })).status, 200);
  clock.set(clock.now() + 400 * 86_400_000);
  t.equal((await ask(deviceDoor.port, 'GET', path, { client: own })).status, 401, 'expired');
});

t.test('a signed address gets its image without a certificate, and nothing else', async (t) => {
  const { ask, deviceDoor, certificateOf, clock, urls, unserved, stopped } = await openSite(t);
  const get = (path: string, more: object = {}, method = 'GET') =>
    ask(deviceDoor.port, method, path, more);
  const path = urls.path({ device: 'pump', sha256 }, 60_000);
  const { status, bytes } = await get(path);
  t.equal(status, 200);
  t.ok(bytes.equals(image));
  t.match(await get(path, {}, 'HEAD'), { status: 200 });
  t.match(await get(path.replace(sha256, '0'.repeat(64))), { status: 401 }, 'not another image');
  t.match(await get(path.replace('=pump', '=valve')), { status: 401 }, 'not for another device');
  const reenrol = await get(path.replace(/^[^?]*/, '/.well-known/est/simplereenroll'));
  t.equal(reenrol.status, 404, 'no other route is here');
  unserved.add('pump');
  t.match(await get(path), { status: 401 }, 'its device is out of service');
  unserved.delete('pump');
  stopped.add('pump');
  t.match(await get(path), { status: 503, json: { code: 'UPDATES_STOPPED' } });
  stopped.delete('pump');
  clock.advance(60_001);
  const { json } = await get(path);
  t.match(json, { code: 'PEER_REFUSED', next: /new address/ });
  const client = await certificateOf('pump');
  t.match(
    await get(path, { client }),
    { status: 200 },
    'whoever has a certificate needs no address',
  );
});

t.test('firmware that is not here is on its way, unknown, or damaged', async (t) => {
  const { ask, deviceDoor, certificateOf, firmware, folder } = await openSite(t);
  const client = await certificateOf('pump');
  const other = 'ab'.repeat(32);
  const get = (digest: string) =>
    ask(deviceDoor.port, 'GET', `/firmware/sha256/${digest}`, { client });
  t.match(await get(other), { status: 404, json: { code: 'RESOURCE_NOT_FOUND' } });
  firmware.isNeeded = (digest) => digest === other;
  t.match(await get(other), {
    status: 503,
    headers: { 'retry-after': '10' },
    json: { code: 'FIRMWARE_COMING' },
  });
  await truncate(join(folder, sha256), 1_000);
  const changed = new Promise((resolve) => firmware.onChange(resolve));
  await t.rejects(get(sha256));
  t.equal(await changed, sha256);
  t.notOk(firmware.isHeld(sha256), 'what cannot be read is dropped');
});

t.test('a client that goes away in the middle of an image does it no harm', async (t) => {
  const { deviceDoor, certificateOf, firmware, root } = await openSite(t);
  const client = await certificateOf('pump');
  for (let i = 0; i < 5; i += 1) {
    const socket = connect({ host: '127.0.0.1', port: deviceDoor.port, ca: root.pem, ...client });
    await once(socket, 'secureConnect');
    socket.write(`GET /firmware/sha256/${sha256} HTTP/1.1\r\nhost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.destroy();
  }
  t.ok(firmware.isHeld(sha256));
});

t.test('malformed and oversized requests are refused', async (t) => {
  const { ask, deviceDoor } = await openSite(t);
  const post = (body: unknown) => ask(deviceDoor.port, 'POST', '/api/v1/enroll', { body });
  t.match(await post('{'), { status: 400, json: { code: 'REQUEST_INVALID' } });
  t.match(await post({ secret: 'x' }), { status: 400, json: { message: /csr/ } });
  t.match(await post('['.repeat(60_000)), { status: 400 });
  t.match(await post('x'.repeat(70_000)), { status: 413, json: { code: 'REQUEST_TOO_LARGE' } });
  t.match(await ask(deviceDoor.port, 'GET', '/nothing'), { status: 404 });
  t.match(await ask(deviceDoor.port, 'DELETE', '/api/v1/enroll'), { status: 405 });
  t.match(await ask(deviceDoor.port, 'GET', '/%E0%A4%A'), { status: 400 });
});

t.test('who is slow with a request is cut', async (t) => {
  const { deviceDoor, root } = await openSite(t, { requestTimeoutMs: 600 });
  for (const start of [
    'GET / HTTP/1.1\r\nx',
    'POST /api/v1/enroll HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{',
  ]) {
    const socket = connect({ host: '127.0.0.1', port: deviceDoor.port, ca: root.pem });
    await once(socket, 'secureConnect');
    socket.resume();
    socket.write(start);
    await socketClosed(socket);
    t.pass(start);
  }
});

t.test('the local API asks for the operator token and slows down who guesses', async (t) => {
  const { ask, peopleDoor, operator } = await openSite(t);
  t.match(await operator('GET', '/status'), { status: 200, json: { site: 'farm' } });
  const wrong = (token: string) =>
    ask(peopleDoor.port, 'GET', '/api/v1/status', { headers: { authorization: token } });
  t.match(await ask(peopleDoor.port, 'GET', '/api/v1/status'), {
    status: 401,
    headers: { 'www-authenticate': 'Bearer' },
    json: { code: 'NOT_AUTHENTICATED', next: /token/ },
  });
  for (let i = 0; i < 20; i += 1) t.equal((await wrong('Bearer hfo_guess')).status, 401);
  t.match(await wrong('Bearer hfo_guess'), { status: 429, json: { code: 'TOO_MANY_ATTEMPTS' } });
  t.equal((await operator('GET', '/status')).status, 200, 'who has the token is not kept out');
});

t.test('people see devices page by page and change what is desired of one', async (t) => {
  const { operator, devices } = await openSite(t);
  for (const device of ['a', 'b', 'c']) devices.learned(device, { model: 'pi' });
  devices.connected('a', 's');
  const first = await operator('GET', '/devices?page_size=2');
  t.match(first.json, {
    devices: [
      { device: 'a', online: true },
      { device: 'b', online: false },
    ],
    next_page_token: 'b',
  });
  const second = await operator('GET', '/devices?page_size=2&page_token=b');
  t.match(second.json, { devices: [{ device: 'c' }], next_page_token: '' });
  t.match(await operator('GET', '/devices?page_size=x'), { status: 400 });
  t.match(await operator('GET', '/devices/zz'), { status: 404, json: { next: /device list/ } });
  t.match(await operator('GET', '/devices/a'), { json: { device: 'a', model: 'pi' } });
  t.match(await operator('GET', '/devices/a/telemetry'), {
    json: { series: [{ series: 'temp' }] },
  });

  t.match(await operator('GET', '/devices/a/shadows/-'), { status: 404 });
  const set = await operator('PATCH', '/devices/a/shadows/-', { state: { desired: { on: true } } });
  t.match(set, { status: 200, json: { desired: { on: true }, delta: { on: true }, version: 1 } });
  t.match(
    await operator('PATCH', '/devices/a/shadows/-', {
      state: { desired: { on: false } },
      version: 9,
    }),
    {
      status: 409,
      json: { code: 'RESOURCE_CONFLICT' },
    },
  );
  t.match(await operator('PATCH', '/devices/a/shadows/-', { state: { reported: { on: false } } }), {
    status: 400,
  });
  t.match(await operator('GET', '/devices/a/shadows'), { json: { shadows: ['-'] } });
  t.match(await operator('GET', '/conflicts'), { json: { conflicts: [] } });
});

t.test('people send commands and make codes', async (t) => {
  const { operator, devices, outbox, published } = await openSite(t);
  outbox.start();
  devices.connected('a', 's');
  const sent = await operator('POST', '/devices/a/commands', {
    command_id: 'c1',
    type: 'blink',
    payload: { n: 3 },
  });
  t.match(sent, { status: 200, json: { command: 'c1', state: 'delivered', payload: { n: 3 } } });
  await outbox.idle();
  t.equal(published(), 1);
  t.match(await operator('GET', '/devices/a/commands/c1'), { json: { state: 'delivered' } });
  t.match(await operator('GET', '/devices/a/commands'), {
    json: { commands: [{ command: 'c1' }] },
  });
  t.match(await operator('POST', '/devices/a/commands', { command_id: 'c1', type: 'other' }), {
    status: 409,
    json: { code: 'RESOURCE_EXISTS' },
  });
  t.match(await operator('POST', '/devices/a/commands', { command_id: 'c 1', type: 'x' }), {
    status: 400,
  });
  const made = await operator('POST', '/claims', { device_id: 'new', model: 'm1' });
  t.match(made.json, { code: /^hfd1-/, device_id: 'new', model: 'm1' });
  const batch = await operator('POST', '/claims/batch', { claims: [{}, { device_id: 'newer' }] });
  t.match(batch.json.claims, [{ device_id: null }, { device_id: 'newer' }]);
  const open = async () => (await operator('GET', '/claims')).json.claims;
  t.same((await open()).map((claim: { device_id: string }) => claim.device_id).sort(), [
    'new',
    'newer',
    null,
  ]);
  const [{ claim }] = await open();
  t.match(await operator('DELETE', `/claims/${claim}`), { status: 200 });
  t.match(await operator('DELETE', `/claims/${claim}`), { status: 404 });
  t.equal((await open()).length, 2);
  t.match(await operator('POST', '/claims', { device_id: '../x' }), { status: 400 });
});
