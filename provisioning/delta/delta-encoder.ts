/**
 * The program that makes one delta, and applies it to see that it is right: `delta-encoder ORDER`, with the order in JSON. It prints what
 * it made as JSON, or `null` when it would be larger than asked for. Started by `makeDelta`.
 */
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { peakMemory } from '../program/peak-memory.js';
import { applyDelta } from './apply-delta.js';
import { deltaFormat } from './delta-format.js';
import { encodeDelta } from './encode-delta.js';
import type { DeltaOrder } from './make-delta.js';

const nothing = new Uint8Array(0);

const encode = async ({ source, target, delta, ...options }: DeltaOrder) => {
  const image = await readFile(target);
  const before = source === null ? nothing : await readFile(source);
  const made = await encodeDelta(before, image, delta, options);
  if (made === null) return null;
  const check = `${delta}.check`;
  await applyDelta({
    source,
    delta,
    format: deltaFormat,
    target: check,
    sha256: createHash('sha256').update(image).digest('hex'),
    sizeBytes: image.length,
    signal: AbortSignal.timeout(3_600_000),
  });
  await rm(check);
  return made;
};

// Whatever else the machine has to do comes first, but it gets on where there is always something.
setPriority(10);
// Where memory runs out, this is what is to go.
await writeFile('/proc/self/oom_score_adj', '1000').catch(() => undefined);
// Its stdin ends with whoever started it, however that ended.
process.stdin.on('end', () => process.exit(1)).resume();
try {
  const [, , order = ''] = process.argv;
  const made = await encode(JSON.parse(order) as DeltaOrder);
  const told = made && { ...made, memoryBytes: peakMemory() };
  process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
} catch (error) {
  const text = error instanceof HoldfastError ? `${error.code}: ${error.message}` : String(error);
  process.stderr.write(`${text}\n`, () => process.exit(1));
}
