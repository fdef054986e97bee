import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { ClockStatus } from '@holdfast/provisioning/time/trusted-clock';
import t, { type Test } from 'tap';
import { readQuestion } from './ntp-packet.js';
import { openNtpServer } from './ntp-server.js';
import { SenderBudget } from './sender-budget.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const noon = Date.UTC(2026, 2, 1, 12) + 250;

const status: ClockStatus = {
  now: noon,
  trusted: true,
  source: 'signed',
  doubt: null,
  offset: 0,
  floor: 0,
  errorMs: 500,
  boot: 'b',
};

/** A server, and a client that sends it whatever it is given. */
const rig = async (t: Test, change: Partial<ClockStatus> = {}) => {
  const clock = { status: () => ({ ...status, ...change }), monotonic: () => 0 };
  const server = await openNtpServer({ clock, log }, { host: '127.0.0.1', port: 0 });
  const client = createSocket('udp4');
  client.bind(0, '127.0.0.1');
  await once(client, 'listening');
  t.teardown(async () => {
    client.close();
    await server.close();
    await server.close();
  });
  const send = (packet: Buffer) => client.send(packet, server.port, '127.0.0.1');
  const ask = async (packet: Buffer): Promise<Buffer> => {
    send(packet);
    const [answer] = (await once(client, 'message')) as [Buffer];
    return answer;
  };
  return { server, send, ask };
};

const question = (first = 0x23): Buffer => {
  const packet = Buffer.alloc(48);
  packet.writeUInt8(first, 0);
  packet.write('question', 40, 'latin1');
  return packet;
};

const timeIn = (packet: Buffer, offset: number): number =>
  (packet.readUInt32BE(offset) - 2_208_988_800) * 1_000 +
  (packet.readUInt32BE(offset + 4) / 2 ** 32) * 1_000;

t.test('answers a client with the time, and how good it is', async (t) => {
  const { ask } = await rig(t);
  const answer = await ask(question());
  t.equal(answer.length, 48);
  t.equal(answer.readUInt8(0), 0x24, 'no warning, version 4, a server');
  t.equal(answer.readUInt8(1), 5);
  t.equal(answer.readUInt32BE(8), 0x8000, 'half a second');
  t.equal(answer.toString('latin1', 24, 32), 'question');
  t.equal(timeIn(answer, 32), noon);
  t.equal(timeIn(answer, 40), noon);
  const older = await ask(question(0x1b));
  t.equal(older.readUInt8(0), 0x1c, 'in the version of who asks');
});

t.test('says that it does not know the time', async (t) => {
  const { ask } = await rig(t, { trusted: false, source: null, doubt: 'unset' });
  const answer = await ask(question());
  t.equal(answer.readUInt8(0) >> 6, 3, 'unsynchronised');
  t.equal(answer.readUInt8(1), 0);
});

t.test('leaves everything but questions unanswered, however large', async (t) => {
  const { ask, send } = await rig(t);
  // Control queries, private ones, servers, symmetric peers, broadcasts, a version of the future, what is too short.
  for (const first of [0x26, 0x17, 0x24, 0x21, 0x25, 0x2b]) send(question(first));
  send(Buffer.alloc(0));
  send(question().subarray(0, 47));
  const large = Buffer.concat([question(), Buffer.alloc(1_000)]);
  t.equal((await ask(large)).length, 48, 'the first that is answered is this one');
  t.equal(readQuestion(Buffer.alloc(48)), undefined);
});

t.test('gives a sender so many answers and no more', async (t) => {
  const budget = new SenderBudget({ burst: 3, everyMs: 1_000, maxSenders: 2 });
  const taken = (now: number) => [1, 2, 3, 4].map(() => budget.take('a', now));
  t.same(taken(0), [true, true, true, false]);
  t.same(taken(1_000), [true, false, false, false]);
  t.equal(budget.take('b', 1_000), true, 'another is not held to it');
  t.same(taken(100_000), [true, true, true, false]);
  budget.take('c', 100_000);
  budget.take('d', 100_000);
  t.equal(budget.take('a', 100_000), true, 'forgotten among so many');
});

t.test('says what to do when the port is taken', async (t) => {
  const { server } = await rig(t);
  const clock = { status: () => status, monotonic: () => 0 };
  await t.rejects(openNtpServer({ clock, log }, { host: '127.0.0.1', port: server.port }), {
    code: 'CONNECTION_FAILED',
    message: /ntpPort/,
  });
});
