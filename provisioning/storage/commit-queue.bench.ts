/**
 * How many small writes a second reach the disk: through the commit queue from many concurrent callers, and one transaction a write,
 * in one run on the same disk. Medians; `node commit-queue.bench.js [seconds a measurement] [rounds]`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommitQueue } from './commit-queue.js';
import { type Database, openDatabase } from './database.js';
import { appendTable, type Write } from './write.js';

const seconds = Number(process.argv[2] ?? 2);
const rounds = Number(process.argv[3] ?? 5);

const entries = appendTable('entries', ['at', 'kind', 'device', 'body']);
const text = JSON.stringify({ series: 'temperature', value: 21.5, note: 'x'.repeat(150) });
const blob = Buffer.from(text);
const at = Date.now();
const appendText = (device: number): Write => [
  { into: entries, row: [at, 'point', `device-${device}`, text] },
];
const appendBlob = (device: number): Write => [
  { into: entries, row: [at, 'point', `device-${device}`, blob] },
];
const upsert = (device: number): Write => [
  {
    sql: 'INSERT INTO states VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET body = excluded.body',
    params: [`device-${device}`, text],
  },
];

interface Measured {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly cpuMicros: number;
}

type Round = (database: Database) => Promise<Measured>;

/** Each caller waits for its commit before the next one, as a device that waits for its PUBACK. */
async function measure(
  callers: number,
  store: (caller: number) => Promise<void>,
): Promise<Measured> {
  const begin = performance.now();
  const cpu = process.cpuUsage();
  const end = begin + seconds * 1_000;
  const latencies: number[] = [];
  const call = async (caller: number): Promise<void> => {
    for (;;) {
      const called = performance.now();
      if (called > end) return;
      await store(caller);
      latencies.push(performance.now() - called);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  const took = (performance.now() - begin) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  return {
    perSecond: latencies.length / took,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    cpuMicros: (user + system) / latencies.length,
  };
}

const queued =
  (callers: number, write: (caller: number) => Write): Round =>
  async (database) => {
    const queue = new CommitQueue(database);
    const measured = await measure(callers, (caller) => queue.commit(write(caller)));
    await queue.close();
    return measured;
  };

const alone: Round = (database) => {
  const sql = 'INSERT INTO entries (at, kind, device, body) VALUES (?, ?, ?, ?)';
  return measure(1, async () => {
    await database.run('BEGIN IMMEDIATE');
    await database.run(sql, [at, 'point', 'device-1', text]);
    await database.run('COMMIT');
  });
};

const cases: readonly (readonly [string, Round])[] = [
  ['one transaction a write', alone],
  ['queue,     1 caller ', queued(1, appendText)],
  ['queue,   100 callers', queued(100, appendText)],
  ['queue, 2,000 callers', queued(2_000, appendText)],
  ['queue, 2,000 callers, blobs', queued(2_000, appendBlob)],
  ['queue,   100 callers, one upsert each', queued(100, upsert)],
];

const folder = await mkdtemp(join(tmpdir(), 'commit-queue-bench-'));
try {
  const results = new Map<string, Measured[]>(cases.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of cases) {
      const database = await openDatabase({ path: join(folder, `${round}-${name}.db`) });
      await database.exec(`CREATE TABLE entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at, kind, device, body);
        CREATE TABLE states (device TEXT PRIMARY KEY, body) WITHOUT ROWID`);
      results.get(name)?.push(await run(database));
      await database.close();
    }
  }
  for (const [name, measured] of results) {
    measured.sort((a, b) => a.perSecond - b.perSecond);
    const { perSecond, p99Ms, cpuMicros } = measured[measured.length >>> 1] as Measured; // rounds > 0
    const rate = Math.round(perSecond).toLocaleString('en').padStart(9);
    process.stdout.write(
      `${name.padEnd(40)}${rate} writes/s  p99 ${p99Ms.toFixed(2)} ms  ${cpuMicros.toFixed(1)} µs CPU a write\n`,
    );
  }
} finally {
  await rm(folder, { recursive: true });
}
