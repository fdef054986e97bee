/** How long the disk takes to make 4 KiB durable: from the cloud's call to the device's delta three commits wait for it, one after the other. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Figure, percentile } from './figures.js';

export const measureDisk = async (): Promise<Figure[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-shadow-'));
  const file = openSync(join(folder, 'fsync'), 'w');
  const page = Buffer.alloc(4_096, 1);
  const times: number[] = [];
  for (let at = 0; at < 200; at += 1) {
    writeSync(file, page);
    const begun = performance.now();
    fdatasyncSync(file);
    times.push(performance.now() - begun);
  }
  closeSync(file);
  await rm(folder, { recursive: true });
  return [
    { what: 'the disk makes 4 KiB durable, p50', value: percentile(times, 0.5), unit: 'ms' },
    { what: 'the disk makes 4 KiB durable, p99', value: percentile(times, 0.99), unit: 'ms' },
  ];
};
