import { access, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { Header } from 'tar';
import { inspectArchive, unpackArchive } from './archive.js';
import { defaultArchiveQuota } from './archive-quota.js';

const signal = new AbortController().signal;
const manifest = JSON.stringify({
  name: 'counter',
  version: '2.0.0',
  command: ['node', 'main.js'],
  health: { type: 'ready_line', line: 'ready' },
});

interface Entry {
  readonly path: string;
  readonly body?: string | Buffer;
  readonly type?:
    | 'File'
    | 'Directory'
    | 'SymbolicLink'
    | 'Link'
    | 'CharacterDevice'
    | 'BlockDevice'
    | 'FIFO';
  readonly linkpath?: string;
  readonly mode?: number;
}

/** Written by hand, so that it may hold what no decent tool would write. */
const archiveOf = (entries: readonly Entry[]): Buffer => {
  const blocks: Buffer[] = [];
  for (const { path, body = '', type = 'File', linkpath, mode = 0o644 } of entries) {
    const bytes = Buffer.from(body);
    const block = Buffer.alloc(512);
    const fields = { path, type, size: bytes.length, mode, mtime: new Date(0) };
    new Header({ ...fields, ...(linkpath !== undefined && { linkpath }) }).encode(block, 0);
    blocks.push(block, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
};

const setUp = async (t: Test, archive: Buffer) => {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-archive-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'app.tar.gz');
  await writeFile(path, archive);
  return { path, folder: join(directory, 'slot'), directory };
};

const good: Entry[] = [
  { path: './', type: 'Directory', mode: 0o755 },
  { path: './holdfast-app.json', body: manifest },
  { path: 'bin/run', body: '#!/bin/sh\n', mode: 0o4755 },
];

t.test('unpacks files with their right to be run, and replaces what was there', async (t) => {
  const { path, folder } = await setUp(t, archiveOf(good));
  t.match(await inspectArchive(path, signal), { version: '2.0.0', deadline_s: 60, max_starts: 3 });
  await unpackArchive(path, folder, signal);
  await writeFile(join(folder, 'old'), 'x');
  await unpackArchive(path, folder, signal);
  t.equal(await readFile(join(folder, 'holdfast-app.json'), 'utf8'), manifest);
  const { mode } = await stat(join(folder, 'bin/run'));
  t.equal(mode & 0o111, 0o111);
  await t.rejects(access(join(folder, 'old')));
});

const small = { ...defaultArchiveQuota, maxBytes: 1 << 20 };

const bad: Record<string, Entry[]> = {
  'a name that climbs out': [...good, { path: 'a/../../evil', body: 'x' }],
  'an absolute name': [...good, { path: '/tmp/holdfast-evil', body: 'x' }],
  'a symbolic link': [...good, { path: 'link', type: 'SymbolicLink', linkpath: '/etc' }],
  'a hard link': [...good, { path: 'link', type: 'Link', linkpath: 'holdfast-app.json' }],
  'a device': [...good, { path: 'null', type: 'CharacterDevice' }],
  'a pipe': [...good, { path: 'pipe', type: 'FIFO' }],
  'a block device': [...good, { path: 'disk', type: 'BlockDevice' }],
  'a name twice': [...good, { path: 'bin/run', body: 'other' }],
  'a control character in a name': [...good, { path: 'a\nb', body: 'x' }],
  'folders in folders without end': [...good, { path: `${'d/'.repeat(40)}f`, body: 'x' }],
  'a backslash in a name': [...good, { path: 'a\\..\\evil', body: 'x' }],
};
for (const [what, entries] of Object.entries(bad)) {
  t.test(`refuses ${what}, in both passes`, async (t) => {
    const { path, folder, directory } = await setUp(t, archiveOf(entries));
    await t.rejects(inspectArchive(path, signal), { code: 'UPDATE_ARCHIVE_REFUSED' });
    await t.rejects(unpackArchive(path, folder, signal), { code: 'UPDATE_ARCHIVE_REFUSED' });
    await t.rejects(access(join(directory, 'evil')));
    await t.rejects(access('/tmp/holdfast-evil'));
  });
}

t.test('refuses more entries or bytes than its quota', async (t) => {
  const many = Array.from({ length: 20 }, (_, i) => ({ path: `f${String(i)}`, body: 'x' }));
  const one = await setUp(t, archiveOf([...good, ...many]));
  await t.rejects(inspectArchive(one.path, signal, { quota: { ...small, maxEntries: 10 } }), {
    code: 'UPDATE_ARCHIVE_REFUSED',
  });
  const two = await setUp(t, archiveOf([...good, { path: 'zeros', body: Buffer.alloc(5 << 20) }]));
  t.ok((await stat(two.path)).size < 20_000, 'it is a small bomb');
  await t.rejects(inspectArchive(two.path, signal, { quota: small }), {
    code: 'UPDATE_ARCHIVE_REFUSED',
  });
});

t.test(
  'refuses what expands beyond measure, while it is small, and what is packed twice',
  async (t) => {
    const quota = { ...defaultArchiveQuota, maxRatio: 50, ratioFromBytes: 1 << 20 };
    const bomb = await setUp(
      t,
      archiveOf([...good, { path: 'zeros', body: Buffer.alloc(8 << 20) }]),
    );
    await t.rejects(inspectArchive(bomb.path, signal, { quota }), /expands more than 50 times/);
    await t.rejects(unpackArchive(bomb.path, bomb.folder, signal, { quota }), {
      code: 'UPDATE_ARCHIVE_REFUSED',
    });
    const twice = await setUp(t, gzipSync(archiveOf(good)));
    await t.rejects(inspectArchive(twice.path, signal), /compressed twice/);
  },
);

t.test('nothing unpacked becomes somebody else by being run', async (t) => {
  const { path, folder } = await setUp(t, archiveOf(good));
  await unpackArchive(path, folder, signal);
  t.equal((await stat(join(folder, 'bin/run'))).mode & 0o7000, 0);
});

t.test('refuses what is cut off, damaged or no archive', async (t) => {
  const whole = archiveOf(good);
  for (const bytes of [whole.subarray(0, 150), Buffer.from('hello'), gzipSync('hello')]) {
    const { path } = await setUp(t, bytes);
    await t.rejects(inspectArchive(path, signal), {
      code: /UPDATE_(ARCHIVE_REFUSED|MANIFEST_INVALID)/,
    });
  }
});

t.test('refuses an archive that does not say how to run it', async (t) => {
  const none = await setUp(t, archiveOf([{ path: 'main.js', body: 'x' }]));
  await t.rejects(inspectArchive(none.path, signal), { code: 'UPDATE_MANIFEST_INVALID' });
  const wrong = await setUp(t, archiveOf([{ path: 'holdfast-app.json', body: '{"name":"x"}' }]));
  await t.rejects(inspectArchive(wrong.path, signal), { code: 'UPDATE_MANIFEST_INVALID' });
});
