import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { ManualMachine } from '@holdfast/provisioning/time/manual-machine';
import { openClock } from '@holdfast/provisioning/time/trusted-clock';
import t, { type Test } from 'tap';
import { TestCloud } from './test-cloud.js';
import { openTestGateway } from './test-gateway.js';
import { TimeQuestion, type TimeQuestionOptions } from './time-question.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const day = 86_400_000;
const year = 365 * day;

/** A gateway whose machine says that it is `system`, and its control plane. */
const rig = async (t: Test, { system, battery }: { system?: number; battery?: number } = {}) => {
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet);
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-time-'));
  const machine = new ManualMachine(system ?? 4_000);
  machine.battery = battery ?? null;
  const floorMs = fleet.now - 10 * day;
  const options = { path: join(dir, 'clock.json'), ntp: 'never', floorMs, builtMs: 0 } as const;
  const clock = await openClock({ log, machine }, options);
  const { tls } = await fleet.gateway('gw-1');
  const gateway = await openTestGateway({
    dir,
    address: `127.0.0.1:${cloud.port}`,
    fleet: fleet.fleet,
    site: fleet.site,
    root: fleet.root.certificate,
    tls,
    clock,
  });
  t.teardown(async () => {
    await gateway.close();
    await clock.close();
    await cloud.close();
    await rm(dir, { recursive: true });
  });
  const trusted = () =>
    new Promise<void>((resolve) => {
      if (clock.trusted) return resolve();
      const stop = clock.onChange(() => {
        if (!clock.trusted) return;
        stop();
        resolve();
      });
    });
  return { fleet, cloud, machine, clock, gateway, trusted };
};

t.test('a gateway that believes it is 1970 connects, asks, and knows the time', async (t) => {
  const { fleet, cloud, clock, gateway, trusted } = await rig(t);
  cloud.time = () => fleet.now + 60_000;
  t.equal(clock.trusted, false);
  gateway.link.open();
  await trusted();
  t.ok(Math.abs(clock.now() - (fleet.now + 60_000)) < 10_000);
  t.equal(clock.status().source, 'signed');
});

t.test('one wild year is undone by the link', async (t) => {
  const wild = Date.now() + 15 * year;
  const { fleet, cloud, clock, machine, gateway, trusted } = await rig(t, {
    system: wild,
    battery: wild,
  });
  // Its battery-backed clock is wild too, and somebody has confirmed it.
  clock.assert(null);
  t.match(clock.status(), { trusted: true, source: 'operator' });
  cloud.time = () => fleet.now;
  gateway.link.open();
  await new Promise<void>((resolve) => {
    const stop = clock.onChange(() => {
      if (clock.trusted) return;
      stop();
      resolve();
    });
  });
  t.equal(clock.status().doubt, 'contradicted', 'the control plane is not certified for then');
  await trusted();
  t.ok(Math.abs(clock.now() - fleet.now) < 10_000);
  t.equal(machine.system, wild, 'the machine is left as it is');
});

t.test('a jump makes it ask again at once', async (t) => {
  const { fleet, cloud, machine, clock, gateway, trusted } = await rig(t);
  cloud.time = () => fleet.now;
  gateway.link.open();
  await trusted();
  const asked = cloud.timeAsked;
  machine.system += year;
  clock.tick();
  t.equal(clock.trusted, false);
  await trusted();
  t.ok(cloud.timeAsked > asked);
  t.ok(Math.abs(clock.now() - fleet.now) < 10_000);
});

t.test('asks again when there was no answer', async (t) => {
  const { fleet, cloud, gateway, trusted } = await rig(t);
  gateway.link.open();
  await cloud.until(() => cloud.timeAsked >= 2);
  cloud.time = () => fleet.now;
  await trusted();
  t.pass();
});

/** A question without a link around it. */
const ask = (t: Test, options: TimeQuestionOptions = {}) => {
  let monotonic = 0;
  const received: [number, number][] = [];
  const nonces: string[] = [];
  const clock = {
    trusted: false,
    monotonic: () => monotonic,
    receiveSigned: (time: number, errorMs: number) => void received.push([time, errorMs]),
    onChange: () => () => undefined,
  };
  const verify = async (jws: string, nonce: string) => {
    if (!jws.startsWith(nonce)) throw new Error('it answers another question');
    return Number(jws.slice(nonce.length + 1));
  };
  const question = new TimeQuestion({ clock, verify, log }, options);
  t.teardown(() => question.close());
  const pass = (ms: number): void => {
    monotonic += ms;
  };
  question.begin((nonce) => nonces.push(nonce.toString('hex')));
  return { question, received, nonces, pass };
};

t.test('counts half of the way there and back', async (t) => {
  const { question, received, nonces, pass } = ask(t);
  pass(400);
  await question.receive(`${nonces[0]} 5000`);
  t.same(received, [[5_200, 200]]);
  await question.receive(`${nonces[0]} 9000`);
  t.equal(received.length, 1, 'an answer counts once');
});

t.test(
  'believes no answer that took too long, to another question, or after the connection',
  async (t) => {
    const { question, received, nonces, pass } = ask(t);
    await question.receive(`${'0'.repeat(32)} 5000`);
    pass(10_001);
    await question.receive(`${nonces[0]} 5000`);
    question.end();
    await question.receive(`${nonces[0]} 5000`);
    t.same(received, []);
  },
);
