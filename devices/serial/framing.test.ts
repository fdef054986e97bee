import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { compileClient, hasCompiler } from '../mcu/test-client.js';
import { faultOf, takenByClient, takenByFramer } from './test-framing.js';
import { damagedStream } from './test-streams.js';

/** `npm run test:faults` has the other 97,000. */
const streams = Array.from({ length: 3_000 }, (_, seed) => damagedStream(seed));

t.test('the gateway takes no damaged line for a frame, and is right again after one', async (t) => {
  for (const stream of streams) {
    const fault = faultOf(stream, takenByFramer(stream));
    if (fault !== undefined) t.fail(fault);
  }
  const lost = streams.filter((stream) => takenByFramer(stream).length < stream.sent.size).length;
  t.ok(lost > streams.length / 4, `damage shows: ${String(lost)} streams lost frames`);
});

t.test(
  'the C client takes none either, in its own memory',
  { skip: !(await hasCompiler()) && 'there is no gcc' },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-framing-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const taken = await takenByClient(await compileClient(folder, 'framing'), streams);
    t.equal(taken.length, streams.length);
    for (const [index, stream] of streams.entries()) {
      const fault = faultOf(stream, taken[index] ?? []);
      if (fault !== undefined) t.fail(fault);
    }
  },
);
