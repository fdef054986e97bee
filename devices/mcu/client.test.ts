import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t from 'tap';
import { resetByCommand } from '../serial/flash/resets.js';
import { encodeFrame } from '../serial/frames.js';
import { PortPair } from '../serial/port/port-pair.js';
import { randomOf } from '../serial/test-streams.js';
import { compileClient, hasCompiler, mcuFile } from './test-client.js';
import { openSite, type TestSite } from './test-site.js';

t.test('the client is small enough to be read', async (t) => {
  const files = await Promise.all(
    ['holdfast.h', 'holdfast.c'].map((name) => readFile(mcuFile(name), 'utf8')),
  );
  const lines = files.flatMap((file) => file.trimEnd().split('\n'));
  t.ok(lines.length < 600, `${String(lines.length)} lines, with comments and blank ones`);
  t.same(
    lines.filter((line) => line.length > 120),
    [],
    'and none of them is long',
  );
});

/** Commands are sent again until they are answered, as the gateway does. */
const untilAnswered = async (
  { site, near }: { site: TestSite; near: { sendCommand: (command: Command) => Promise<void> } },
  command: Command,
): Promise<void> => {
  const send = () => near.sendCommand(command).catch(() => undefined);
  const again = setInterval(send, 60);
  await send();
  await site.until(() => site.responses.some((one) => one.command_id === command.command_id));
  clearInterval(again);
};

const lastSeq = (site: TestSite): number => Math.max(...site.points.map(({ seq = 0 }) => seq));

interface Command {
  readonly command_id: string;
  readonly type: string;
  readonly payload: null | { readonly [key: string]: number | { readonly [key: string]: number } };
  readonly expires_at: number;
}

/** What the application is told by whoever is about to flash. */
const spokenReset = async (): Promise<string> => {
  const pair = new PortPair();
  let said = '';
  pair.far.onBytes((bytes) => {
    said += bytes.toString();
  });
  const reset = resetByCommand({ application: {}, loader: {} });
  await reset(pair.open(), AbortSignal.timeout(1_000));
  return said;
};

const expires_at = 1_800_000_000_000;
const add = { type: 'add', payload: { one: 2, deep: { other: 3 } }, expires_at } as const;

t.test(
  'the C client on a terminal',
  { skip: !(await hasCompiler()) && 'there is no gcc' },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-mcu-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const program = await compileClient(folder, 'device');

    t.test('says what it measured, with its time, each thing once', async (t) => {
      const { site } = await openSite(t, program, { intervalMs: 20 });
      // Where this machine is slower than 2 s of the device's some come again.
      const seqs = () => [...new Set(site.points.map(({ seq }) => seq))];
      await site.until(() => seqs().length >= 10);
      const [first] = site.points;
      t.match(first, { value: 0, boot: 'b1', seq: 0 });
      t.same(seqs().slice(0, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      t.same(site.points.find(({ seq }) => seq === 3)?.value, -0.15);
      // Whole seconds, of a clock that runs faster, by the ms of the gateway's.
      t.match(String(first?.ts), /^1(699|700)\d{6}123$/);
      t.ok(site.events.includes('device time 1700000000 1'));
    });

    t.test('asks what is desired, applies it leaf by leaf, and reports it', async (t) => {
      const { site, near } = await openSite(t, program);
      await site.until(() => 'dropped' in site.reported);
      t.same(site.reported, { relay: false, pump: { speed: 0 }, label: 'none', dropped: 0 });
      await near.sendDelta({ pump: { speed: 21.5, other: [1, { a: 2 }] }, unknown: 5 }, 2);
      await site.until(() => JSON.stringify(site.reported.pump) === '{"speed":21.5}');
      await near.sendDelta({ relay: true, label: 'a "b" \\ é' }, 3);
      await site.until(() => site.reported.relay === true && site.reported.label !== 'none');
      t.equal(site.reported.label, 'a "b" \\ é');
      await near.sendDelta({ relay: false }, 2);
      await near.sendDelta({ pump: { speed: 3 } }, 4);
      await site.until(() => JSON.stringify(site.reported.pump) === '{"speed":3}');
      t.equal(site.reported.relay, true, 'a lower version is old');
      await near.sendDelta({ pump: { speed: 1e300 } }, 5);
      const reports = site.count('reported');
      await site.until(() => site.count('reported') > reports);
      t.same(site.reported.pump, { speed: 3 }, 'what it cannot be it is not');
    });

    t.test('does a command once, however often it comes, and answers each time', async (t) => {
      const { site, near } = await openSite(t, program);
      const command = { ...add, command_id: 'c1' };
      for (let times = 0; times < 3; times += 1) await near.sendCommand(command);
      await site.until(() => site.responses.length === 3);
      t.same(site.responses[2], { command_id: 'c1', status: 'succeeded', result: 5 });
      t.equal(site.count('device command add'), 1);
      await untilAnswered({ site, near }, { ...add, command_id: 'c2', type: 'slow' });
      t.match(site.responses.at(-1), { status: 'succeeded', result: 'done' });
      t.equal(site.count('device command slow'), 1);
      await untilAnswered({ site, near }, { ...add, command_id: 'c3', type: 'dance' });
      t.match(site.responses.at(-1), { status: 'rejected', error: 'not "known"' });
      await untilAnswered({ site, near }, { ...add, command_id: 'c4', expires_at: 1_000 });
      t.match(site.responses.at(-1), { status: 'expired' });
      t.equal(site.count('device command add'), 1);
      for (let index = 5; index < 25; index += 1) {
        await untilAnswered({ site, near }, { ...add, command_id: `c${String(index)}` });
      }
      t.equal(site.count('device command add'), 21);
    });

    t.test('knows a command again after its gateway was away for long', async (t) => {
      const { site, near } = await openSite(t, program);
      const slow = { ...add, command_id: 'c1', type: 'slow' };
      await near.sendCommand(slow);
      await site.until(() => site.count('device command slow') === 1);
      for (const command_id of ['c2', 'c3', 'c4']) {
        await untilAnswered({ site, near }, { ...add, command_id });
      }
      site.toDevice = () => Buffer.alloc(0);
      await site.until(() => site.count('device state 0') > 1);
      site.toDevice = (bytes) => bytes;
      await site.until(() => site.count('device state 1') > 1);
      await untilAnswered({ site, near }, { ...add, command_id: 'c5' });
      await untilAnswered({ site, near }, slow);
      t.match(site.responses.at(-1), { command_id: 'c1', status: 'succeeded', result: 'done' });
      t.equal(site.count('device command slow'), 1);
    });

    t.test('refuses an update it cannot carry out, and goes to its boot loader', async (t) => {
      const { site, near, inject } = await openSite(t, program);
      const image = { size: 100, sha256: 'a'.repeat(64) };
      await near.sendJob({ job_id: 'j1', version: '2.0', ...image });
      await site.until(() => site.count('job j1 rejected') > 0);
      inject(encodeFrame({ t: 'bootloader' }, true));
      inject(encodeFrame({ t: 'bootloader' }, false));
      inject(await spokenReset());
      await site.until(() => site.count('device bootloader') > 0);
      inject(encodeFrame({ t: 'who' }, false));
      await site.until(() => site.count('online b1') > 1);
      t.equal(site.count('device bootloader'), 1, 'not without its checksum');
    });

    t.test('loses nothing on a wire that garbles, and takes nothing wrong', async (t) => {
      const { site, near } = await openSite(t, program, { intervalMs: 40 });
      const random = randomOf(7);
      const bad = (bytes: Buffer): Buffer => {
        const garbled = Buffer.from(bytes);
        if (random(3) === 0) garbled[random(garbled.length)] = random(256);
        if (random(8) === 0) return Buffer.concat([randomBytes(30), garbled]);
        return random(8) === 0 ? garbled.subarray(0, random(garbled.length)) : garbled;
      };
      site.toDevice = bad;
      site.toGateway = bad;
      for (let index = 0; index < 6; index += 1) {
        await untilAnswered({ site, near }, { ...add, command_id: `c${String(index)}` });
      }
      await site.until(() => site.points.length >= 20);
      site.toDevice = (bytes) => bytes;
      site.toGateway = (bytes) => bytes;
      const upTo = lastSeq(site) + 3;
      await site.until(() => lastSeq(site) >= upTo + 3);
      t.equal(site.count('device command add'), 6, 'each once');
      const seen = new Set(site.points.map(({ seq }) => seq));
      const lost = Array.from({ length: upTo }, (_, seq) => seq).filter((seq) => !seen.has(seq));
      // Of what was dropped some had arrived, and only the acknowledgement was lost.
      await site.until(() => lost.length <= Number(site.reported.dropped));
      for (const { seq = 0, value } of site.points) t.equal(value, (seq * -5) / 100);
    });

    t.test('keeps what gets no answer, and tells what it had to drop', async (t) => {
      const { site } = await openSite(t, program, { intervalMs: 20 });
      await site.until(() => site.points.length >= 3);
      site.failure = new HoldfastError('STORE_FULL', 'the disk is full');
      const failed = site.count('failed');
      await site.until(() => site.count('failed') > failed + 30);
      site.failure = undefined;
      await site.until(() => Number(site.reported.dropped) > 0);
      const upTo = lastSeq(site) + 10;
      await site.until(() => lastSeq(site) >= upTo);
      const seen = new Set(site.points.map(({ seq }) => seq));
      const missing = lastSeq(site) + 1 - 3 - seen.size;
      // What is in flight is not missing yet.
      await site.until(() => missing <= Number(site.reported.dropped));
      t.ok(missing > 3);
    });

    t.test('what will never be taken is not sent again', async (t) => {
      const { site, near } = await openSite(t, program, { intervalMs: 20 });
      const refused = new Set<number>();
      let heard = '';
      site.toDevice = (bytes) => {
        heard += bytes.toString('latin1');
        for (const [, seq] of heard.matchAll(/"t":"nack","seq":(\d+)/g)) refused.add(Number(seq));
        return bytes;
      };
      site.failure = new HoldfastError('REQUEST_INVALID', 'no');
      await site.until(() => refused.size >= 3);
      const told = new Set(refused);
      // Once this is answered the device has heard so, and what it sent before has come.
      await near.sendCommand({ ...add, command_id: 'c1' });
      await site.until(() => site.count('refused response') > 0);
      site.failure = undefined;
      await site.until(() => site.points.length > 5);
      t.same(
        site.points.filter(({ seq = 0 }) => told.has(seq)),
        [],
      );
    });

    t.test('a restart is another boot, and begins anew in the middle of anything', async (t) => {
      const { site, near, device } = await openSite(t, program, { intervalMs: 20 });
      site.desired = { state: { relay: true }, version: 7 };
      for (const boot of ['b2', 'b3', 'b4']) {
        await device.restart(boot);
        await untilAnswered({ site, near }, { ...add, command_id: `after-${boot}` });
        await site.until(() => site.points.some((one) => one.boot === boot));
      }
      await site.until(() => site.reported.relay === true);
      t.pass();
    });

    t.test('finds back after the gateway lost it, and after it was refused', async (t) => {
      const { site, near } = await openSite(t, program, { intervalMs: 30 });
      site.refusal = new HoldfastError('GATEWAY_FENCED', 'another gateway owns this site');
      near.refuse(site.refusal);
      await site.until(() => site.count('device state 3') > 0);
      site.refusal = undefined;
      const welcomed = site.count('welcomed');
      await site.until(() => site.count('welcomed') > welcomed);
      const points = site.points.length;
      await site.until(() => site.points.length > points + 3);
      t.pass('and goes on');
    });

    t.test('a flood costs the line its time, and nothing else', async (t) => {
      const { site, near } = await openSite(t, program);
      let flood = 20;
      site.toDevice = (bytes) => {
        flood -= 1;
        return flood > 0 ? Buffer.concat([bytes, Buffer.alloc(20_000, '{"t":"who"')]) : bytes;
      };
      for (let index = 0; index < 5; index += 1) {
        await untilAnswered({ site, near }, { ...add, command_id: `c${String(index)}` });
      }
      t.equal(site.count('device command add'), 5);
    });
  },
);
