/**
 * For tests, imported before a device's program: cuts the power at its n-th write. A write is every call that changes a file or a folder;
 * the one that is cut is half done, and of every file what was not synced is lost.
 *
 * HOLDFAST_TEST_CUT_AT: n; 0 never. The number of writes is written to standard output at the end, as `writes n`.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const cutAt = Number(process.env.HOLDFAST_TEST_CUT_AT ?? 0);
let writes = 0;
/** Files with bytes that are not on disk yet. */
const unsynced = new Set<string>();
const original = { ...fs, promises: { ...fs.promises } };

const cut = (): never => {
  for (const path of unsynced) {
    try {
      original.truncateSync(path, 0);
    } catch {
      // It is gone.
    }
  }
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
};

/** Before each write; `half` does the first half of it. */
const write = (half: () => void = () => undefined): void => {
  writes += 1;
  if (writes !== cutAt) return;
  half();
  cut();
};

const pathOf = (fd: number): string => original.readlinkSync(`/proc/self/fd/${String(fd)}`);

const isFile = (fd: number): boolean =>
  pathOf(fd).startsWith('/') && !pathOf(fd).startsWith('/dev');

/** Half of the bytes of a write, as a power cut may leave it. */
const tear = (fd: number, bytes: Uint8Array | string): void => {
  const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  original.writeSync(fd, buffer, 0, buffer.byteLength >> 1);
};

const writesTo = (fd: number, bytes: Uint8Array | string): void => {
  // Standard output is none of the device's disk.
  if (!isFile(fd)) return;
  write(() => tear(fd, bytes));
  unsynced.add(pathOf(fd));
};

type Callable = (this: unknown, ...given: never[]) => unknown;

/** Calls `before` with what a function is called with. */
const wrap = (
  target: object,
  name: string,
  before: (self: unknown, given: unknown[]) => void,
): void => {
  const holder = target as Record<string, Callable>;
  const plain = holder[name];
  if (plain === undefined) return;
  holder[name] = function (this: unknown, ...given: never[]) {
    before(this, given);
    return plain.apply(this, given);
  };
};

const renamed = ([from, to]: unknown[]): void => {
  write();
  const [before, after] = [String(from), String(to)];
  if (unsynced.delete(before)) unsynced.add(after);
  else unsynced.delete(after);
};
const mayCreate = (flags: unknown): boolean => typeof flags === 'string' && /[wa]/.test(flags);

for (const target of [fs, fs.promises]) {
  wrap(target, 'rename', (_, given) => renamed(given));
  for (const name of ['mkdir', 'rm', 'unlink', 'rmdir', 'link', 'symlink', 'chmod', 'truncate']) {
    wrap(target, name, () => write());
  }
  wrap(target, 'copyFile', (_, [, to]) => {
    write();
    unsynced.add(String(to));
  });
  wrap(target, 'open', (_, [, flags]) => {
    if (mayCreate(flags)) write();
  });
  wrap(target, 'writeFile', (_, [path, bytes]) => {
    write(() =>
      original.writeFileSync(String(path), String(bytes).slice(0, String(bytes).length >> 1)),
    );
    unsynced.add(String(path));
  });
}
wrap(fs, 'write', (_, [fd, bytes]) => writesTo(fd as number, bytes as Uint8Array));
wrap(fs, 'writev', (_, [fd, parts]) =>
  writesTo(fd as number, Buffer.concat(parts as Uint8Array[])),
);
wrap(fs, 'fsync', (_, [fd]) => {
  write();
  unsynced.delete(pathOf(fd as number));
});

const handle = await original.promises.open(process.execPath, 'r');
const prototype = Object.getPrototypeOf(handle) as object;
await handle.close();
const fdOf = (self: unknown): number => (self as fs.promises.FileHandle).fd;
for (const name of ['write', 'appendFile', 'writeFile']) {
  wrap(prototype, name, (self, [bytes]) => writesTo(fdOf(self), bytes as Uint8Array));
}
wrap(prototype, 'truncate', (self) => {
  write();
  unsynced.add(pathOf(fdOf(self)));
});
for (const name of ['sync', 'datasync']) {
  wrap(prototype, name, (self) => {
    write();
    unsynced.delete(pathOf(fdOf(self)));
  });
}
syncBuiltinESMExports();

process.once('exit', () => original.writeSync(1, `writes ${String(writes)}\n`));
