import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isWithoutHole } from '@holdfast/protos/link/journal-batch';
import type { JournalEntry } from '@holdfast/protos/link/journal-entries';
import { chainAfter, chainStart } from '@holdfast/protos/semantics/journal-chain';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import type { Position } from '../link/lane.js';
import type { TelemetryPoint } from './point.js';
import { openTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.js';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const start: Position = { seq: 0, chain: chainStart };
const plenty = async () => Number.MAX_SAFE_INTEGER;

const fixture = async (t: Test, options: Partial<TelemetryOptions> = {}, space = plenty) => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-telemetry-'));
  const path = join(dir, 'telemetry.db');
  const clock = new ManualClock();
  const open = async () =>
    openTelemetry({ clock, log: quiet, space }, { path, budgetBytes: 64 << 20, ...options });
  const first = await open();
  const opened = [first];
  t.teardown(async () => {
    for (const telemetry of opened) await telemetry.close();
    await rm(dir, { recursive: true });
  });
  const reopen = async () => {
    for (const telemetry of opened) await telemetry.close();
    const again = await open();
    opened.push(again);
    return again;
  };
  return { telemetry: first, reopen, clock };
};

const points = (from: number, to: number, value: unknown = 21.5): TelemetryPoint[] =>
  Array.from({ length: to - from + 1 }, (_, index) => ({
    device: 'd1',
    series: 'temperature',
    ts: 1000 + from + index,
    value,
    boot: 'b',
    seq: from + index,
  }));

/** Everything the lane gives, as the link would read it. */
const readAll = async (telemetry: Telemetry, maxBytes = 100_000): Promise<JournalEntry[]> => {
  const all: JournalEntry[] = [];
  let after = start;
  for (;;) {
    const batch = await telemetry.lane.read(after, maxBytes);
    if (!batch) return all;
    all.push(...(JSON.parse(batch.entries) as JournalEntry[]));
    after = { seq: batch.lastSeq, chain: batch.chain };
  }
};

t.test('gives back what was recorded, also after a restart, as one chain', async (t) => {
  const { telemetry, reopen } = await fixture(t);
  await telemetry.record(points(1, 3));
  await telemetry.record([{ device: 'd"2', series: 's', ts: 5, value: { b: [1], a: 'ü' } }]);
  const again = await reopen();
  const batch = await again.lane.read(start, 100_000);
  t.ok(batch);
  if (!batch) return;
  const entries = JSON.parse(batch.entries) as JournalEntry[];
  t.same(
    entries.map(({ seq }) => seq),
    [1, 2, 3, 4],
  );
  t.same(entries[0]?.body, {
    boot: 'b',
    device: 'd1',
    seq: 1,
    series: 'temperature',
    ts: 1001,
    value: 21.5,
  });
  t.same(entries[3]?.body, { device: 'd"2', series: 's', ts: 5, value: { a: 'ü', b: [1] } });
  const hashed = entries.map(({ seq, kind, body }) => ({ seq, kind, body: JSON.stringify(body) }));
  t.same(batch.chain, chainAfter(chainStart, 'telemetry', hashed), 'bodies are kept canonical');
});

t.test('refuses a point that no JSON can hold, and stores none of its company', async (t) => {
  const { telemetry } = await fixture(t);
  const bad = { device: 'd', series: 's', ts: 1, value: Number.NaN };
  t.throws(() => telemetry.record([...points(1, 1), bad]), { code: 'REQUEST_INVALID' });
  t.equal(await telemetry.lane.read(start, 1000), undefined);
});

t.test('cuts batches by bytes, and gives a large entry alone', async (t) => {
  const { telemetry } = await fixture(t);
  await telemetry.record(points(1, 10));
  await telemetry.record(points(11, 11, 'x'.repeat(50_000)));
  const counts: number[] = [];
  for (let after = start; ; ) {
    const batch = await telemetry.lane.read(after, 1000);
    if (!batch) break;
    counts.push(batch.count);
    after = { seq: batch.lastSeq, chain: batch.chain };
  }
  t.equal(
    counts.reduce((a, b) => a + b),
    11,
  );
  t.ok(counts.length >= 3);
  t.equal(counts.at(-1), 1);
});

t.test('drops its oldest over the budget and accounts for every point in one entry', async (t) => {
  const { telemetry } = await fixture(t, { budgetBytes: 400_000, checkEveryBytes: 20_000 });
  for (let n = 0; n < 100; n += 1) await telemetry.record(points(n * 200 + 1, n * 200 + 200));
  await telemetry.check();
  const entries = await readAll(telemetry);
  t.ok(isWithoutHole(1, entries));
  const dropped = entries.filter(({ kind }) => kind === 'dropped');
  t.equal(dropped.length, 1, 'drops one after the other are one entry');
  const body = dropped[0]?.body as { from: number; to: number; points: number; reason: string };
  t.match(body, { from: 1, to: dropped[0]?.seq ?? 0, reason: 'budget' });
  t.equal(body.points + entries.length - 1, 20_000);
  t.equal(telemetry.status().droppedPoints, body.points);
  t.ok(entries.length > 1000, 'the newest are there');
});

t.test('never drops what is under way: it is sent again with the same chain', async (t) => {
  const { telemetry, reopen } = await fixture(t, { budgetBytes: 400_000, checkEveryBytes: 20_000 });
  await telemetry.record(points(1, 100));
  const sealed = await telemetry.lane.read(start, 100_000);
  for (let n = 1; n < 60; n += 1) await telemetry.record(points(n * 200, n * 200 + 199));
  await telemetry.check();
  const again = await reopen();
  t.equal(again.lane.sealed.seq, 100);
  t.same(await again.lane.read(start, 100_000), sealed);
  t.same(await again.lane.chainAt(100), sealed?.chain);
  const entries = await readAll(again);
  t.equal(entries[100]?.kind, 'dropped');
  t.ok(isWithoutHole(1, entries));
});

t.test('gives up what the control plane has before what it has not', async (t) => {
  const { telemetry } = await fixture(t, { budgetBytes: 500_000, checkEveryBytes: 1 << 30 });
  await telemetry.record(points(1, 3000));
  let after = start;
  while (after.seq < 3000) {
    const batch = await telemetry.lane.read(after, 1 << 20);
    if (!batch) break;
    after = { seq: batch.lastSeq, chain: batch.chain };
  }
  await telemetry.lane.acknowledge(3000);
  await telemetry.record(points(3001, 4500));
  await telemetry.check();
  t.equal(telemetry.status().droppedPoints, 0);
  const next = await telemetry.lane.read(after, 1 << 20);
  t.equal(next?.firstSeq, 3001);
  t.equal(telemetry.lane.backlog(), 1500);
});

t.test('does not grow while the disk is low, and says what it dropped', async (t) => {
  let free = Number.MAX_SAFE_INTEGER;
  const options = { reserveBytes: 1 << 20, checkEveryBytes: 50_000 };
  const { telemetry } = await fixture(t, options, async () => free);
  await telemetry.record(points(1, 10_000));
  const size = async () =>
    (
      await telemetry.store.read.get<{ pages: number }>(
        'SELECT page_count AS pages FROM pragma_page_count()',
      )
    )?.pages ?? 0;
  const before = await size();
  free = (1 << 20) - 1;
  for (let n = 50; n < 150; n += 1) await telemetry.record(points(n * 200 + 1, n * 200 + 200));
  await telemetry.check();
  t.ok((await size()) <= before * 1.25, 'three times as many points came');
  const entries = await readAll(telemetry, 1 << 20);
  t.match(entries[0], { kind: 'dropped', body: { from: 1, reason: 'disk_low' } });
  t.ok(isWithoutHole(1, entries));
  t.ok(entries.length > 4000, 'it keeps what the file has room for');
});

t.test('sends everything that is kept again under a new log', async (t) => {
  const { telemetry, reopen } = await fixture(t);
  await telemetry.record(points(1, 50));
  await telemetry.lane.read(start, 1 << 20);
  await telemetry.lane.acknowledge(50);
  const old = telemetry.lane.log;
  await telemetry.lane.startNewLog('another chain');
  t.not(telemetry.lane.log, old);
  t.equal(telemetry.lane.backlog(), 50);
  const again = await reopen();
  t.equal(again.lane.log, telemetry.lane.log);
  t.equal((await again.lane.read(start, 1 << 20))?.count, 50);
});

t.test(
  'shows the latest value of a series, whatever the order, also after a restart',
  async (t) => {
    const { telemetry, reopen } = await fixture(t);
    await telemetry.record(points(1, 5, 'new'));
    await telemetry.record(points(1, 2, 'late'));
    const latest = [{ series: 'temperature', ts: 1005, value: 'new' }];
    t.same(telemetry.latest('d1'), latest);
    t.same((await reopen()).latest('d1'), latest);
    t.same(telemetry.latest('nobody'), []);
  },
);
