import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { cutPower, readWriteLog } from './lossy-disk.js';

const sector = 512;
const entry = (flags: bigint, at = 0, data: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(sector);
  head.writeBigUInt64LE(BigInt(at / sector), 0);
  head.writeBigUInt64LE(BigInt(data.length / sector), 8);
  head.writeBigUInt64LE(flags, 16);
  return Buffer.concat([head, data]);
};
const filled = (letter: string): Buffer => Buffer.alloc(4096, letter);

t.test('what was flushed stays, what was not may go', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lossy-disk-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const images = {
    before: join(folder, 'before'),
    log: join(folder, 'log'),
    after: join(folder, 'after'),
  };
  const superblock = Buffer.alloc(sector);
  superblock.writeBigUInt64LE(0x6a736677736872n, 0);
  superblock.writeUInt32LE(sector, 24);
  await writeFile(images.before, Buffer.alloc(4 * 4096, '-'));
  const log = [
    superblock,
    entry(0n, 0, filled('a')),
    entry(1n),
    entry(0n, 4096, Buffer.concat([filled('b'), filled('c')])),
    entry(2n, 3 * 4096, filled('d')),
    Buffer.alloc(4 * sector),
  ];
  await writeFile(images.log, Buffer.concat(log));
  const operations = await readWriteLog(images.log);
  const after = async (position: number, ...luck: number[]): Promise<string> => {
    await cutPower(images, operations, position, () => luck.shift() ?? 1);
    const bytes = await readFile(images.after, 'latin1');
    return [0, 1, 2, 3].map((at) => bytes[at * 4096]).join('');
  };
  t.equal(operations.length, 4);
  t.equal(await after(4, 0, 0), 'a--d');
  t.equal(await after(4, 0, 1), 'a-cd');
  t.equal(await after(4, 1, 1), 'abcd');
  t.equal(await after(3, 0, 0), 'a---');
  t.equal(await after(2), 'a---');
  t.equal(await after(1, 0), '----');
});
