import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import t, { type Test } from 'tap';
import { type AgentOptions, openAgent } from './agent.js';
import { CertificateRenewal } from './certificate-renewal.js';
import { DeviceKeys } from './device-keys.js';
import { enrol } from './enrol.js';
import { GatewayTrust } from './gateway-trust.js';
import { loadCredentials } from './identity.js';
import { silentLog } from './log.js';
import { type Said, TestGateway } from './test-gateway.js';
import { makeDirectory } from './update/update-fixture.js';

const setUp = async (t: Test, lifetimeMs: number) => {
  const gateway = await TestGateway.open();
  gateway.lifetimeMs = lifetimeMs;
  const directory = await makeDirectory();
  const dataDir = join(directory.path, 'device');
  await enrol(
    { log: silentLog },
    { dataDir, proof: { code: gateway.code }, deviceId: 'dev-1', model: 'pi' },
  );
  t.teardown(async () => {
    await gateway.close();
    await directory.remove();
  });
  const logged: string[] = [];
  const lines = new EventEmitter<{ line: [string] }>();
  const note = (_: object, message: string) => {
    logged.push(message);
    lines.emit('line', message);
  };
  /** Resolves at a line that is logged from now on. */
  const says = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      lines.on('line', (line) => {
        if (pattern.test(line)) resolve();
      });
    });
  const log = { info: note, warn: note, error: note };
  const run = async (options: Partial<AgentOptions> = {}) => {
    const credentials = await loadCredentials(dataDir, log);
    const agent = await openAgent(
      { credentials, log },
      { dataDir, signal: AbortSignal.timeout(60_000), healthIntervalS: 0.05, ...options },
    );
    t.teardown(() => agent.close());
    return agent;
  };
  return { gateway, dataDir, logged, says, run };
};

const seqs = (said: readonly Said[]): number[] => {
  const boots = new Map<unknown, Set<number>>();
  for (const { topic, body } of said) {
    if (!topic.startsWith('dt/dev-1/telemetry/')) continue;
    // As the agent under test writes it: one point, or several.
    const { values = [body] } = body as { values?: unknown[] };
    for (const value of values) {
      const { boot, seq } = value as { boot: string; seq: number };
      const known = boots.get(boot) ?? new Set();
      boots.set(boot, known.add(seq));
    }
  }
  t.equal(boots.size, 1);
  return [...(boots.values().next().value ?? [])].sort((a, b) => a - b);
};

t.test(
  'renews at half of its life, and its session goes over without losing a point',
  async (t) => {
    const { gateway, dataDir, run, logged } = await setUp(t, 6_000);
    await run();
    await gateway.renewals(2);
    await gateway.connected(3);
    const before = gateway.said.length;
    await gateway.heard((said) => gateway.said.indexOf(said) > before + 20);
    const { identity } = await loadCredentials(dataDir, silentLog);
    const { shown, renewed, said } = gateway;
    // By now a slow machine may have renewed more than twice.
    const serials = renewed.map(({ serial }) => serial);
    t.same(shown.slice(1), serials.slice(0, shown.length - 1), 'one connection for each');
    const { serial } = parseCertificate(identity.certificate);
    t.ok(
      renewed.some((one) => one.serial === serial),
      'the last one, or one while the next is on its way',
    );
    t.notOk(logged.includes('not connected'), 'the session never broke');
    const points = seqs(said);
    t.equal((points.at(-1) ?? 0) - (points[0] ?? 0) + 1, points.length, 'no point is missing');
  },
);

t.test(
  'one that was off past its expiry asks at once, and says what to do when refused',
  async (t) => {
    const { gateway, run, says } = await setUp(t, 1);
    gateway.lifetimeMs = 86_400_000;
    gateway.refusal = {
      status: 403,
      code: 'CERTIFICATE_EXPIRED',
      message: 'Enrol with a new code: holdfast device claim dev-1',
    };
    const refused = says(/could not be renewed.*holdfast device claim dev-1/);
    await run();
    await refused;
    gateway.refusal = null;
    await gateway.renewals(1);
    await gateway.connected(2);
    t.equal(gateway.shown.at(-1), gateway.renewed[0]?.serial);
  },
);

/** A renewal without a session: its clock goes on by what it waits. */
const openRenewal = async (t: Test, isConnected: boolean) => {
  const { gateway, dataDir } = await setUp(t, 86_400_000);
  const credentials = await loadCredentials(dataDir, silentLog);
  const time = { at: Date.now() };
  gateway.now = () => time.at;
  const renewal = new CertificateRenewal({
    keys: await DeviceKeys.open(dataDir, silentLog),
    trust: new GatewayTrust(credentials),
    session: {
      gateway: { host: '127.0.0.1', ...gateway.ports },
      isConnected,
      isOutdated: false,
      takeOver: async () => undefined,
    },
    now: () => time.at,
    monotonic: () => time.at,
    log: silentLog,
    wait: async (ms, signal) => {
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
      time.at += ms;
    },
  });
  t.teardown(() => renewal.close());
  return { gateway, renewal, time };
};

t.test(
  'renews again and again a certificate that runs down before its session is let in',
  async (t) => {
    const { gateway, renewal, time } = await openRenewal(t, false);
    const [started, lifeMs] = [time.at, 4_000];
    gateway.lifetimeMs = lifeMs;
    renewal.open();
    await gateway.renewals(4);
    const times = gateway.renewed.map(({ notAfter }) => notAfter - lifeMs - started);
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    t.ok(
      gaps.every((gap) => gap <= lifeMs * 0.6),
      `each within its life: ${gaps.join()} ms`,
    );
  },
);

t.test('one that is due when it comes is renewed at once, but only once', async (t) => {
  const { gateway, renewal, time } = await openRenewal(t, true);
  const hourMs = 3_600_000;
  // The gateway has lost its time: by the clock of the device three quarters are over of whatever it gives.
  gateway.lifetimeMs = 24 * hourMs;
  gateway.now = () => time.at - 18 * hourMs;
  const asked: number[] = [];
  renewal.open();
  for (const count of [1, 2, 3]) {
    await gateway.renewals(count);
    asked.push(time.at);
  }
  const [first = 0, second = 0, third = 0] = asked;
  t.ok(second - first <= hourMs, `again after ${(second - first) / hourMs} h`);
  t.ok(third - second > 10 * hourMs, `then after ${(third - second) / hourMs} h`);
});
