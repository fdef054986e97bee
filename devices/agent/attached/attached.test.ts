import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findResetLine } from '../../gpio/reset-line.js';
import { SimulatedGpio } from '../../gpio/simulated-gpio.js';
import { type Device, openDevice } from '../device.js';
import { enrol } from '../enrol.js';
import { loadCredentials } from '../identity.js';
import { silentLog as log } from '../log.js';
import { type Said, TestGateway } from '../test-gateway.js';
import { makeDirectory } from '../update/update-fixture.js';
import { attachedParts } from './open-attached.js';
import { boardImage, boardPart, SimulatedBoard } from './simulated-board.js';

t.setTimeout(60_000);

/** A board on its line, the agent in front of it, and the gateway that it is a device of. */
const setUp = async (t: Test, { telemetryIntervalMs = 60_000 } = {}) => {
  const gateway = await TestGateway.open();
  const directory = await makeDirectory();
  const dataDir = join(directory.path, 'agent');
  await enrol(
    { log },
    { dataDir, proof: { code: gateway.code }, deviceId: 'pump-1', model: 'pump' },
  );
  const board = new SimulatedBoard({ id: 'pump-1', telemetryIntervalMs });
  board.mcuboot.burn(boardImage('1.0.0'));
  board.powerOn();
  let device: Device | null = null;
  const open = async () => {
    const credentials = await loadCredentials(dataDir, log);
    const parts = await attachedParts(
      {
        ...{ credentials, log, line: { openPort: board.pair.openPort } },
        findResetLine: findResetLine({ gpio: new SimulatedGpio() }, []),
      },
      {
        ...{ dataDir, address: { path: 'board' }, baudRate: 115_200, driver: 'json-lines' },
        ...{ deadlineMs: 10_000, maxStarts: 3, retryDelayMs: () => 10 },
        flash: { protocol: 'mcuboot-smp', part: boardPart, reset: 'dtr' },
      },
    );
    device = await openDevice(
      { credentials, log, ...parts },
      { dataDir, door: 'jobs', askAgainMs: 50 },
    );
    return device;
  };
  const close = async () => {
    await device?.close();
    device = null;
  };
  t.teardown(async () => {
    await close();
    board.powerOff();
    await gateway.close();
    await directory.remove();
  });
  return { gateway, board, open, close, spool: join(dataDir, 'telemetry.jsonl') };
};

const fields = (said: Said) => said.body as Record<string, unknown>;
const reportedIn = (said: Said) =>
  (said.body as { state?: { reported?: Record<string, unknown> } }).state?.reported ?? {};
const isUpdate = ({ topic }: Said) => topic === 'dt/pump-1/shadow/update';

/** Answers what the agent asks with every connection. */
const answerShadow = async (gateway: TestGateway, desired: object, version = 3) => {
  await gateway.heard(({ topic }) => topic === 'dt/pump-1/shadow/get');
  gateway.send('dt/pump-1/shadow/get/accepted', { state: { desired, reported: {} }, version });
};

t.test('is the microcontroller: model, version, run, shadow and measurements', async (t) => {
  const { gateway, open } = await setUp(t, { telemetryIntervalMs: 20 });
  await open();
  await answerShadow(gateway, { interval_s: 0.03, agent: { health_interval_s: 5 } });
  const hello = await gateway.heard(
    (said) => isUpdate(said) && JSON.stringify(said.body).includes('1.0.0'),
  );
  t.match(reportedIn(hello), {
    firmware: { version: '1.0.0' },
    device: { model: 'pump' },
    agent: { boot: String, attached: { online: true } },
  });
  await gateway.heard((said) => isUpdate(said) && reportedIn(said).interval_s === 0.03);
  const refused = gateway.said.findLast((said) => reportedIn(said).agent_refused !== undefined);
  t.match(refused && reportedIn(refused).agent_refused, {
    health_interval_s: /in front of a microcontroller/,
  });
  const point = await gateway.heard(({ topic }) => topic === 'dt/pump-1/telemetry/temperature');
  t.match(point.body, { value: Number, ts: Number, boot: String, seq: Number });
  t.notOk(
    gateway.said.some(({ topic }) => /telemetry\/(memory|cpu|load)/.test(topic)),
    'this machine is not the device',
  );
  gateway.send('dt/pump-1/shadow/delta', { state: { valve: 'open' }, version: 9 });
  await gateway.heard((said) => isUpdate(said) && reportedIn(said).valve === 'open');
});

t.test('a gateway that is away changes nothing for the microcontroller', async (t) => {
  const { gateway, open, close, board, spool } = await setUp(t, { telemetryIntervalMs: 30 });
  const wanted = Array.from({ length: 50 }, (_, seq) => seq);
  const seen = new Set<number>();
  let boot: unknown;
  let isAway = true;
  let enough: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => {
    enough = resolve;
  });
  gateway.onPublish = ({ topic, body }) => {
    if (!topic.includes('/telemetry/')) return true;
    if (isAway) {
      gateway.cut();
      return false;
    }
    const { values, ...one } = body as { values?: { seq: number; boot: string }[] };
    for (const point of values ?? [one as { seq: number; boot: string }]) {
      boot ??= point.boot;
      if (point.boot === boot) seen.add(point.seq);
    }
    // In any order: what was on its way at the break comes again later.
    if (wanted.every((seq) => seen.has(seq))) enough();
    return true;
  };
  await open();
  // Acknowledged to the microcontroller, and by that on the disk of the agent, though the gateway has none of it.
  await new Promise<void>((resolve) => {
    const looking = setInterval(() => {
      const { measured = 0, waiting = 0 } = board.application ?? {};
      if (measured - waiting < 30) return;
      clearInterval(looking);
      resolve();
    }, 5);
  });
  t.equal(seen.size, 0);
  t.ok((await readFile(spool, 'utf8')).split('\n').length > 30, 'a power cut takes none of them');
  // Its process is another one, as after a power cut.
  await close();
  isAway = false;
  await open();
  await arrived;
});

t.test('brings commands to it, and its answers back, whoever of them is away', async (t) => {
  const { gateway, open, close, board } = await setUp(t);
  board.powerOff();
  await open();
  await gateway.connected(1);
  const expires_at = Date.now() + 60_000;
  gateway.send('dt/pump-1/commands/c1', { type: 'identify', payload: { x: 1 }, expires_at });
  gateway.send('dt/pump-1/commands/c2', { type: 'dance', expires_at });
  gateway.send('dt/pump-1/commands/c3', { type: 'identify', expires_at: 1 });
  const answer = (id: string) =>
    gateway.heard(({ topic }) => topic === `dt/pump-1/commands/${id}/response`);
  t.match((await answer('c3')).body, { status: 'expired' });
  await close();
  await open();
  board.powerOn();
  t.match((await answer('c1')).body, { status: 'succeeded', result: { boot: String } });
  t.match((await answer('c2')).body, { status: 'rejected', error: 'unknown: dance' });
  const answers = () => gateway.said.filter(({ topic }) => topic.includes('/c1/response')).length;
  const before = answers();
  gateway.send('dt/pump-1/commands/c1', { type: 'identify', payload: { x: 1 }, expires_at });
  await gateway.heard(() => answers() > before);
});

t.test('says when the microcontroller is away, and why', async (t) => {
  const { gateway, open, board } = await setUp(t);
  await open();
  await answerShadow(gateway, {});
  const attached = (said: Said) =>
    (reportedIn(said).agent as { attached?: { online?: boolean; reason?: string } } | undefined)
      ?.attached;
  await gateway.heard((said) => isUpdate(said) && attached(said)?.online === true);
  board.pair.unplug('the cable is out');
  const away = await gateway.heard(
    (said) => isUpdate(said) && /cable/.test(attached(said)?.reason ?? ''),
  );
  t.equal(attached(away)?.online, false);
  board.pair.plug();
  await gateway.heard(
    (said) =>
      isUpdate(said) &&
      attached(said)?.online === true &&
      gateway.said.indexOf(said) > gateway.said.indexOf(away),
  );
});

t.test('flashes what a job brings, and proves it by the hello that follows', async (t) => {
  const { gateway, open, board } = await setUp(t);
  const image = boardImage('2.0.0');
  const { url, sha256, sizeBytes } = gateway.addFirmware(image, {
    ...{ model: 'pump', version: '2.0.0', installer: 'flash', part: boardPart },
  });
  const device = await open();
  await answerShadow(gateway, {});
  await gateway.heard((said) => isUpdate(said) && reportedIn(said).firmware !== undefined);
  const document = {
    ...{ operation: 'update', campaign_id: 'job-2', model: 'pump', version: '2.0.0' },
    ...{ url, sha256, size_bytes: sizeBytes },
  };
  gateway.send('dt/pump-1/jobs/notify', {
    execution: { job_id: 'job-2', version: 1, status: 'offered', document },
  });
  const status = (wanted: string) => (said: Said) =>
    /\/jobs\/job-2\/update$/.test(said.topic) && fields(said).status === wanted;
  const before = fields(await gateway.heard(status('installing')));
  gateway.send('dt/pump-1/jobs/job-2/update/accepted', { client_token: 'installing' });
  const after = fields(await gateway.heard(status('succeeded')));
  t.match(after, { version: '2.0.0' });
  t.match(before, { version: '1.0.0' });
  t.not(after.boot_id, before.boot_id);
  t.equal(board.mcuboot.version, '2.0.0');
  t.equal(device.version, '2.0.0');
});
