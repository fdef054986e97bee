/** Fault 27: a line that brings garbage without end costs nobody else anything, and is understood again as soon as it makes sense. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SerialLineRow, serialLineRow } from '@holdfast/protos/local/serial';
import t from 'tap';
import * as v from 'valibot';
import { openSiteUnderTest } from '../../trust/site-under-test.js';
import { type FullLine, openFullLine } from './bench/full-line.js';
import { farEnd } from './test-far-end.js';

/** What a line in trouble brings: noise, halves of frames, frames in frames, lines that do not end. */
const garbage = [
  Buffer.from('{"t":"telemetry","series":"flood","value":1,"boot":"b1","seq":0'),
  Buffer.from('{"t":"telemetry"\n}\n\n{"t":"hel{"t":"hello","id":"quiet"\u0000\n'),
  Buffer.alloc(1_000, '{'),
  Buffer.alloc(1_000, 0xff),
  Buffer.alloc(5_000, 'x'),
  Buffer.from('"}\r\n*beef\n{"t":"pong"}*0000\n'),
];
/** Twice as much as is read of a line in that time. */
const [topUpBytes, topUpMs] = [13_107, 100];
/** What the others are to get through meanwhile. */
const enough = 100;

t.test('a flooded line holds up neither the other lines nor the broker', async (t) => {
  t.setTimeout(60_000);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-flood-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const lines = ['flooded', 'quiet'].map((device) => ({ device, path: join(folder, device) }));
  const site = await openSiteUnderTest({ HOLDFAST_SERIAL__LINES: JSON.stringify(lines) });
  t.teardown(() => site.close());
  const lineOf = async (name: string): Promise<SerialLineRow> => {
    const { body } = await site.ask('GET', '/api/v1/status');
    const all = v.parse(v.array(serialLineRow), body.serial_lines);
    const line = all.find((one) => one.name === name);
    if (line === undefined) throw new Error(`there is no line ${name}`);
    return line;
  };

  const flooded = await farEnd(t, join(folder, 'flooded'));
  await flooded.hello({ id: 'flooded' });
  const quiet = await openFullLine({
    ...{ device: 'quiet', link: join(folder, 'quiet'), bytesPerS: undefined },
  });
  t.teardown(() => quiet.close());
  await quiet.welcome;
  const client = site.connect(await site.enrol('other'));
  t.teardown(() => client.endAsync(true));

  let at = 0;
  const flood = (bytes: number): void => {
    for (let written = 0; written < bytes; at += 1) {
      const piece = garbage[at % garbage.length] ?? Buffer.alloc(0);
      flooded.raw(piece);
      written += piece.length;
    }
  };
  flood(64 * 1024);
  const flooding = setInterval(() => flood(topUpBytes), topUpMs);
  t.teardown(() => clearInterval(flooding));
  const before = await lineOf('flooded');
  quiet.begin();
  await Promise.all([
    acknowledged(quiet, enough),
    (async () => {
      for (let n = 0; n < enough; n += 1) {
        await client.publishAsync('dt/other/telemetry/pressure', `${n}`, { qos: 1 });
      }
    })(),
  ]);
  clearInterval(flooding);
  const after = await lineOf('flooded');
  t.equal(after.state, 'up');
  t.ok(after.bytes_in > before.bytes_in, 'it was read all the while');
  t.match(await lineOf('quiet'), { state: 'up', devices: [{ online: true, dropped_frames: 0 }] });

  // The first frame after the next newline counts.
  flooded.raw(Buffer.from('\n'));
  flooded.sayHello({ id: 'flooded', boot: 'b2' });
  await flooded.next('welcome');
  flooded.say({ t: 'telemetry', series: 'level', value: 1, boot: 'b2', seq: 0 });
  t.match(await flooded.next('ack'), { seq: 0 });
  const points = await site.read<{ series: string }>(
    "SELECT DISTINCT body ->> 'series' AS series FROM journal_telemetry ORDER BY series",
    [],
    'telemetry.db',
  );
  const series = points.map((point) => point.series);
  t.same(series, ['level', 'pressure', 'temperature'], 'nothing of the garbage was a frame');
});

const acknowledged = async (line: FullLine, wanted: number): Promise<void> => {
  for (let all = 0; all < wanted; all += line.take().acknowledged) await line.moved();
};
