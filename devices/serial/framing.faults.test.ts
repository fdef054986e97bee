/** 100,000 bad lines, both ends of them, and what the short checksum would let through. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { compileClient, hasCompiler } from '../mcu/test-client.js';
import { checkLine, withChecksum } from './checksum.js';
import { LineFramer } from './line-framer.js';
import { faultOf, takenByClient, takenByFramer } from './test-framing.js';
import { damagedStream, randomOf } from './test-streams.js';

const seeds = 100_000;
const batch = 10_000;

t.test(
  'of 100,000 damaged streams neither end takes a wrong frame, nor loses its way',
  async (t) => {
    const hasGcc = await hasCompiler();
    if (!hasGcc) t.comment('there is no gcc: the gateway alone');
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-framing-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const client = hasGcc ? await compileClient(folder, 'framing') : undefined;
    for (let first = 0; first < seeds; first += batch) {
      const streams = Array.from({ length: batch }, (_, index) => damagedStream(first + index));
      const taken = client === undefined ? [] : await takenByClient(client, streams);
      for (const [index, stream] of streams.entries()) {
        const fault = faultOf(stream, takenByFramer(stream));
        if (fault !== undefined) t.fail(`the gateway, ${fault}`);
        const clientFault = client && faultOf(stream, taken[index] ?? []);
        if (clientFault !== undefined) t.fail(`the client, ${clientFault}`);
      }
    }
  },
);

t.test('a flood of a gigabyte costs no more memory than a line', async (t) => {
  const framer = new LineFramer({ maxLineBytes: 4_096 });
  const chunk = Buffer.alloc(65_536, '{');
  const before = process.memoryUsage();
  for (let times = 0; times < 16_384; times += 1) framer.push(chunk);
  const after = process.memoryUsage();
  t.equal(framer.counts.discardedBytes, 16_384 * chunk.length);
  t.ok(after.external + after.arrayBuffers - before.external - before.arrayBuffers < 16 << 20);
  t.same(framer.push(Buffer.from('\n{"t":"get"}\n')), ['{"t":"get"}']);
});

t.test('CRC-16 lets through what its length says, CRC-32 nothing of a million', async (t) => {
  const random = randomOf(16);
  const garbled = 1_000_000;
  const passed = { short: 0, long: 0 };
  const json = '{"t":"ack","seq":1234}';
  for (const [name, checksum] of [
    ['short', true],
    ['long', 32],
  ] as const) {
    const line = withChecksum(json, checksum);
    for (let times = 0; times < garbled; times += 1) {
      // Eight digits changed anyhow: more than either checksum is sure to find.
      const digits = String(random(100_000_000)).padStart(8, '0');
      const changed = `{"t":"ack","seq":${digits}}${line.slice(json.length)}`;
      if (checkLine(changed).ok) passed[name] += 1;
    }
  }
  t.comment(`of a million garbled lines CRC-16 let ${String(passed.short)} through`);
  t.ok(passed.short >= 3 && passed.short <= 40, `15 are expected, ${String(passed.short)} came`);
  t.equal(passed.long, 0);
});
