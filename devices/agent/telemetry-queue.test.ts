import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
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

/** The lines of the spool, as soon as the last of them is this point's. */
const spooled = async (path: string, last: number): Promise<string[]> => {
  for (;;) {
    const lines = (await readFile(path, 'utf8').catch(() => '')).trimEnd().split('\n');
    if (lines.at(-1)?.includes(`"seq":${String(last)}}`)) return lines;
    await new Promise((resolve) => setImmediate(resolve));
  }
};

t.test('the spool stays bounded however long the gateway is away', async (t) => {
  const { open, path } = await setUp(t, async () => undefined, 3);
  const queue = await open();
  for (let seq = 0; seq < 30; seq += 1) {
    queue.add(point(seq));
    t.ok((await spooled(path, seq)).length <= 6);
  }
  const killed = await open();
  t.equal(killed.size, 3);
  await killed.close();
  await queue.close();
});

t.test('what is spooled behind a torn line is not torn with it', async (t) => {
  const { open, path } = await setUp(t, async () => undefined);
  await appendFile(path, '{"series":"lo');
  const queue = await open();
  queue.add(point(7));
  await spooled(path, 7);
  const killed = await open();
  t.equal(killed.size, 1);
  await killed.close();
  await queue.close();
});

t.test('goes on measuring when the spool cannot be written or removed', async (t) => {
  let noticed: () => void = () => undefined;
  let arrived: () => void = () => undefined;
  const directory = await makeDirectory();
  t.teardown(directory.remove);
  const path = join(directory.path, 'telemetry.jsonl');
  const seqs: number[] = [];
  const queue = new TelemetryQueue(
    {
      log: {
        ...log,
        warn: () => noticed(),
      },
      send: async (_, points) => {
        seqs.push(...points.map(({ seq }) => seq));
        arrived();
      },
    },
    { path, spoolIntervalMs: 5 },
  );
  await queue.open();
  queue.add(point(0));
  await spooled(path, 0);
  await rm(path);
  await mkdir(path);
  const warned = new Promise<void>((resolve) => {
    noticed = resolve;
  });
  queue.connected();
  await warned;
  const second = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  queue.add(point(1));
  await second;
  await queue.close();
  t.same(seqs, [0, 1]);
});

const onDisk = async (path: string): Promise<number> =>
  (await readFile(path, 'utf8').catch(() => '')).split('\n').length - 1;

t.test('keeps a point on disk while the gateway is away, before it is promised', async (t) => {
  const { open, path } = await setUp(t, async () => undefined);
  const queue = await open();
  await queue.keep([point(1), point(2)]);
  t.equal(await onDisk(path), 2);
  // Sent again by a device that saw no acknowledgement: the same points.
  await queue.keep([point(2), point(3)]);
  t.equal(await onDisk(path), 3);
  t.equal(queue.size, 3);
  await queue.close();
});

t.test('promises what the gateway acknowledged, and writes what it leaves waiting', async (t) => {
  let acknowledge: () => void = () => undefined;
  let isSlow = false;
  const { open, path } = await setUp(t, async () => {
    if (!isSlow) return;
    await new Promise<void>((resolve) => {
      acknowledge = resolve;
    });
  });
  const queue = await open();
  queue.connected();
  await queue.keep([point(1)]);
  t.equal(await onDisk(path), 0);
  isSlow = true;
  await queue.keep([point(2)]);
  t.equal(await onDisk(path), 1);
  acknowledge();
  await queue.close();
  t.equal(queue.size, 0);
});

t.test('promises nothing while the disk takes nothing', async (t) => {
  let noticed: () => void = () => undefined;
  const warned = new Promise<void>((resolve) => {
    noticed = resolve;
  });
  const directory = await makeDirectory();
  t.teardown(directory.remove);
  const path = join(directory.path, 'telemetry.jsonl');
  const queue = new TelemetryQueue(
    { log: { ...log, warn: () => noticed() }, send: async () => undefined },
    { path },
  );
  await queue.open();
  await mkdir(path);
  let isKept = false;
  const kept = queue.keep([point(1)]).then(() => {
    isKept = true;
  });
  await warned;
  t.notOk(isKept);
  await rm(path, { recursive: true });
  // The device sends it again.
  await queue.keep([point(1)]);
  await kept;
  t.equal(await onDisk(path), 1);
  t.equal(queue.size, 1);
  await queue.close();
});
