/** Debian's bsdiff 4.3: the same controls in another container, three streams under bzip2 (`BSDIFF40`) instead of one under brotli. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { applyDelta } from './apply-delta.js';
import {
  controlBytes,
  deltaFormat,
  headerBytes,
  headerOf,
  readControl,
  readNumber,
  writeNumber,
} from './delta-format.js';
import { encodeDelta } from './encode-delta.js';

// A busy machine takes its time.
t.setTimeout(180_000);

/** A program as both kinds of machines have them, and the same linked anew: every address in it has moved. */
const program = await readFile(process.execPath).then((bytes) =>
  bytes.subarray(20_000_000, 21_500_000),
);
const moved = Buffer.concat([
  program.subarray(0, 300_000),
  randomBytes(777),
  Buffer.from(program.subarray(250_000)),
]);
for (let at = 400_000; at < moved.length; at += 500 + (at % 997)) moved[at] = (moved[at] ?? 0) + 7;

const bunzip2 = (bytes: Buffer): Buffer =>
  execFileSync('bzip2', ['-dc'], { input: bytes, maxBuffer: 64 * 1024 * 1024 });
const bzip2 = (bytes: Buffer): Buffer => execFileSync('bzip2', ['-c'], { input: bytes });

const openFolder = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'bsdiff-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = (name: string) => join(folder, name);
  await writeFile(path('source'), program);
  return path;
};

t.test('applies what Debian’s bsdiff found', async (t) => {
  const path = await openFolder(t);
  await writeFile(path('image'), moved);
  execFileSync('bsdiff', [path('source'), path('image'), path('patch')]);
  const patch = await readFile(path('patch'));
  t.equal(patch.toString('latin1', 0, 8), 'BSDIFF40');
  const controlsEnd = 32 + readNumber(patch, 8);
  const diffEnd = controlsEnd + readNumber(patch, 16);
  const controls = bunzip2(patch.subarray(32, controlsEnd));
  const diff = bunzip2(patch.subarray(controlsEnd, diffEnd));
  const extra = bunzip2(patch.subarray(diffEnd));
  const parts = [headerOf(readNumber(patch, 24))];
  let diffAt = 0;
  let extraAt = 0;
  for (let at = 0; at < controls.length; at += controlBytes) {
    const control = controls.subarray(at, at + controlBytes);
    const { diffBytes, extraBytes } = readControl(control);
    parts.push(control, diff.subarray(diffAt, diffAt + diffBytes));
    parts.push(extra.subarray(extraAt, extraAt + extraBytes));
    diffAt += diffBytes;
    extraAt += extraBytes;
  }
  await writeFile(path('delta'), brotliCompressSync(Buffer.concat(parts)));
  await applyDelta({
    source: path('source'),
    delta: path('delta'),
    format: deltaFormat,
    target: path('target'),
    sha256: createHash('sha256').update(moved).digest('hex'),
    sizeBytes: moved.length,
    signal: AbortSignal.timeout(60_000),
  });
  t.ok((await readFile(path('target'))).equals(moved));
});

t.test('Debian’s bspatch applies what we found', async (t) => {
  const path = await openFolder(t);
  await encodeDelta(program, moved, path('delta'));
  const stream = brotliDecompressSync(await readFile(path('delta')));
  const controls = [];
  const diffs = [];
  const extras = [];
  for (let at = headerBytes; at < stream.length; ) {
    const control = stream.subarray(at, at + controlBytes);
    const { diffBytes, extraBytes } = readControl(control);
    const diffAt = at + controlBytes;
    controls.push(control);
    diffs.push(stream.subarray(diffAt, diffAt + diffBytes));
    extras.push(stream.subarray(diffAt + diffBytes, diffAt + diffBytes + extraBytes));
    at = diffAt + diffBytes + extraBytes;
  }
  const [control, diff, extra] = [controls, diffs, extras].map((parts) =>
    bzip2(Buffer.concat(parts)),
  ) as [Buffer, Buffer, Buffer];
  const header = Buffer.alloc(32);
  header.write('BSDIFF40');
  writeNumber(control.length, header, 8);
  writeNumber(diff.length, header, 16);
  writeNumber(moved.length, header, 24);
  await writeFile(path('patch'), Buffer.concat([header, control, diff, extra]));
  execFileSync('bspatch', [path('source'), path('target'), path('patch')]);
  t.ok((await readFile(path('target'))).equals(moved));
});
