/**
 * `npm run bench:delta [-- OLD NEW]`: what making and applying a delta takes, each in a process of its own. Without files: of 33 and 66 MB of
 * this Node, with every hundredth address moved; of these the compression is a light one, since it is the memory that is asked for.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { peakMemory } from '../program/peak-memory.js';
import { applyDelta, type DeltaApplication } from './apply-delta.js';
import { deltaFormat } from './delta-format.js';
import { makeDelta } from './make-delta.js';

type Applied = Omit<DeltaApplication, 'signal' | 'onProgress'>;

const run = promisify(execFile);
const self = fileURLToPath(import.meta.url);
const signal = AbortSignal.timeout(3_600_000);
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const apply = async (application: Applied): Promise<void> => {
  const begun = performance.now();
  await applyDelta({ ...application, signal });
  const seconds = ((performance.now() - begun) / 1e3).toFixed(1);
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  const cpuSeconds = ((userCPUTime + systemCPUTime) / 1e6).toFixed(1);
  process.stdout.write(
    `applied in ${seconds} s (CPU ${cpuSeconds} s), ${mb(peakMemory())} of memory at most\n`,
  );
};

const measure = async (source: string, target: string, quality: number): Promise<void> => {
  const image = await readFile(target);
  const delta = `${target}.delta`;
  const begun = performance.now();
  const order = { source, target, delta, quality };
  const made = await makeDelta(order, { signal, maxImageBytes: 2 ** 30 });
  if (made === null) return;
  const seconds = ((performance.now() - begun) / 1e3).toFixed(1);
  process.stdout.write(
    `\nimage ${image.length} bytes, delta ${made.sizeBytes} bytes (brotli ${quality})\nmade in ${seconds} s, ${mb(made.memoryBytes)} of memory at most\n`,
  );
  const application: Applied = {
    source,
    delta,
    format: deltaFormat,
    target: `${target}.again`,
    sha256: createHash('sha256').update(image).digest('hex'),
    sizeBytes: image.length,
  };
  const { stdout } = await run(process.execPath, [self, 'apply', JSON.stringify(application)]);
  process.stdout.write(stdout);
};

const moved = (image: Buffer): Buffer => {
  const next = Buffer.concat([
    image.subarray(0, 1_000_000),
    Buffer.alloc(50_000, 1),
    image.subarray(1_000_000, -50_000),
  ]);
  for (let at = 500; at + 4 < next.length; at += 400) {
    next.writeUInt32LE((next.readUInt32LE(at) + 50_000) >>> 0, at);
  }
  return next;
};

const [, , first, second] = process.argv;
if (first === 'apply' && second !== undefined) {
  await apply(JSON.parse(second) as Applied);
} else {
  const folder = await mkdtemp(join(tmpdir(), 'bench-delta-'));
  const path = (name: string) => join(folder, name);
  try {
    if (first !== undefined && second !== undefined) {
      await writeFile(path('new'), await readFile(second));
      await measure(first, path('new'), 11);
    } else {
      const program = await readFile(process.execPath);
      for (const sizeBytes of [33_000_000, 66_000_000]) {
        const image = program.subarray(0, sizeBytes);
        await writeFile(path('old'), image);
        await writeFile(path('new'), moved(Buffer.from(image)));
        await measure(path('old'), path('new'), 5);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
