import { join } from 'node:path';
import t from 'tap';
import { enrol } from './enrol.js';
import { GatewayTrust } from './gateway-trust.js';
import { loadCredentials } from './identity.js';
import { silentLog as log } from './log.js';
import { DeviceSession } from './session.js';
import { TestGateway } from './test-gateway.js';
import { makeDirectory } from './update/update-fixture.js';

t.test(
  'a gateway that acknowledges nothing is left, so that everything is sent again',
  async (t) => {
    const gateway = await TestGateway.open();
    const directory = await makeDirectory();
    const dataDir = join(directory.path, 'device');
    await enrol(
      { log },
      { dataDir, proof: { code: gateway.code }, deviceId: 'dev-1', model: 'pi' },
    );
    const credentials = await loadCredentials(dataDir, log);
    let connected: () => void = () => undefined;
    const session = new DeviceSession(
      {
        trust: new GatewayTrust(credentials),
        log,
        handlers: {
          connected: () => connected(),
          disconnected: () => undefined,
          message: async () => undefined,
        },
      },
      {
        clientId: 'dev-1',
        gateways: credentials.identity.gateways,
        filters: ['dt/dev-1/commands/+'],
        publishTimeoutMs: 100,
        firstRetryMs: 1,
      },
    );
    t.teardown(async () => {
      await session.close();
      await gateway.close();
      await directory.remove();
    });
    const next = () =>
      new Promise<void>((resolve) => {
        connected = resolve;
      });
    const first = next();
    session.open();
    await first;
    const second = next();
    gateway.onPublish = () => false;
    await t.rejects(session.publish('dt/dev-1/telemetry/load', { value: 1 }), {
      code: 'DEADLINE_EXCEEDED',
    });
    await second;
    const heard = new Promise<void>((resolve) => {
      gateway.onPublish = () => {
        resolve();
        return true;
      };
    });
    // The acknowledgement may take longer than this session waits for one.
    session.publish('dt/dev-1/telemetry/load', { value: 1 }).catch(() => undefined);
    await heard;
  },
);

t.test('goes over to the new certificate also when its connection breaks on the way', async (t) => {
  const gateway = await TestGateway.open();
  const directory = await makeDirectory();
  const dataDir = join(directory.path, 'device');
  await enrol({ log }, { dataDir, proof: { code: gateway.code }, deviceId: 'dev-1', model: 'pi' });
  const credentials = await loadCredentials(dataDir, log);
  const trust = new GatewayTrust(credentials);
  const lost: object[] = [];
  let connected: () => void = () => undefined;
  let disconnected: () => void = () => undefined;
  const session = new DeviceSession(
    {
      trust,
      log: { ...log, info: (fields) => void lost.push(fields) },
      handlers: {
        connected: () => connected(),
        disconnected: () => disconnected(),
        message: async () => undefined,
      },
    },
    {
      clientId: 'dev-1',
      gateways: credentials.identity.gateways,
      filters: ['dt/dev-1/commands/+'],
    },
  );
  t.teardown(async () => {
    await session.close();
    await gateway.close();
    await directory.remove();
  });
  const first = new Promise<void>((resolve) => {
    connected = resolve;
  });
  session.open();
  await first;
  trust.adopt(credentials);
  gateway.onPublish = () => false;
  const unanswered = session.publish('dt/dev-1/telemetry/load', { value: 1 });
  const rejected = t.rejects(unanswered, { code: 'CONNECTION_FAILED' });
  const second = new Promise<void>((resolve) => {
    connected = resolve;
  });
  disconnected = () => gateway.cut();
  await session.takeOver();
  await rejected;
  await second;
  gateway.onPublish = () => true;
  await session.publish('dt/dev-1/telemetry/load', { value: 2 });
  t.same(lost, [], 'it was without a connection at no time');
});

t.test('says what to do when the gateway puts it out time after time', async (t) => {
  const gateway = await TestGateway.open();
  const directory = await makeDirectory();
  const dataDir = join(directory.path, 'device');
  await enrol({ log }, { dataDir, proof: { code: gateway.code }, deviceId: 'dev-1', model: 'pi' });
  const { identity, ...credentials } = await loadCredentials(dataDir, log);
  const warned: unknown[] = [];
  let refusals = 0;
  let told: () => void = () => undefined;
  const enough = new Promise<void>((resolve) => {
    told = resolve;
  });
  gateway.putsOut = true;
  const session = new DeviceSession(
    {
      trust: new GatewayTrust({ identity, ...credentials }),
      log: {
        ...log,
        info: (_, message) => {
          if (message === 'not connected') refusals += 1;
          if (refusals === 5) told();
        },
        warn: (details) => warned.push(details),
      },
      handlers: {
        connected: () => undefined,
        disconnected: () => undefined,
        message: async () => undefined,
      },
    },
    {
      clientId: 'dev-1',
      gateways: identity.gateways,
      filters: [],
      firstRetryMs: 1,
      mostRetryMs: 1,
    },
  );
  session.open();
  t.teardown(async () => {
    await session.close();
    await gateway.close();
    await directory.remove();
  });
  await enough;
  t.match(warned, [{ next: /device enable dev-1.*device claim dev-1/ }], 'once');
});
