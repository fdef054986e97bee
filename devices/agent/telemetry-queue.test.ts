import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog as log } from './log.js';
import { TelemetryQueue, type TelemetryQueueDeps } from './telemetry-queue.js';
import { makeDirectory } from './update/update-fixture.js';

const setUp = async (t: Test, send: TelemetryQueueDeps['send'], maxPoints = 100) => {
  const directory = await makeDirectory();
  t.teardown(directory.remove);
  const path = join(directory.path, 'telemetry.jsonl');
  const open = async () => {
    const queue = new TelemetryQueue({ log, send }, { path, maxPoints, spoolIntervalMs: 5 });
    await queue.open();
    return queue;
  };
  return { path, open };
};
const point = (seq: number, series = 'load') => ({ series, value: 1, ts: 5, boot: 'b', seq });

t.test('sends in order, series by series, and again what was not acknowledged', async (t) => {
  const taken: string[] = [];
  let isAway = true;
  const { open } = await setUp(t, async (series, points) => {
    if (isAway) throw new Error('away');
    taken.push(`${series}:${points.map(({ seq }) => seq).join(',')}`);
  });
  const queue = await open();
  for (let seq = 0; seq < 4; seq += 1) queue.add(point(seq, seq % 2 ? 'disk' : 'load'));
  queue.connected();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(queue.size, 4);
  isAway = false;
  queue.connected();
  await queue.close();
  t.same(taken, ['load:0,2', 'disk:1,3']);
  t.equal(queue.size, 0);
});

t.test('drops the oldest above its bound, counted', async (t) => {
  const { open } = await setUp(t, async () => undefined, 3);
  const queue = await open();
  for (let seq = 0; seq < 10; seq += 1) queue.add(point(seq));
  t.equal(queue.size, 3);
  t.equal(queue.dropped, 7);
  await queue.close();
});

t.test('what was measured offline survives, up to a torn last line', async (t) => {
  const seqs: number[] = [];
  const { open, path } = await setUp(t, async (_, points) => {
    seqs.push(...points.map(({ seq }) => seq));
  });
  const first = await open();
  for (let seq = 0; seq < 5; seq += 1) first.add(point(seq));
  while ((await readFile(path, 'utf8').catch(() => '')).split('\n').length < 6) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Not closed: the process was killed here, while it wrote.
  await appendFile(path, '{"series":"lo');
  const second = await open();
  t.equal(second.size, 5);
  second.connected();
  await second.close();
  t.same(seqs, [0, 1, 2, 3, 4]);
  await t.rejects(readFile(path), 'nothing is left to be sent twice');
  await first.close();
});
