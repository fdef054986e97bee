import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from './make-folder.js';

t.test('makes a folder and those above it, also twice and at once', async (t) => {
  const top = t.testdir();
  const path = join(top, 'a/b/c');
  await Promise.all([makeFolder(path, 0o700), makeFolder(path, 0o700)]);
  await makeFolder(path, 0o700);
  t.equal((await stat(path)).mode & 0o777, 0o700);
});

t.test('says where no folder can be, and comes to an end', async (t) => {
  const file = join(t.testdir(), 'file');
  await writeFile(file, '');
  // /proc says ENOENT of what is there.
  for (const path of ['/proc/holdfast', '/proc/holdfast/data', file, join(file, 'data')]) {
    await t.rejects(
      makeFolder(path),
      { code: 'STORE_UNAVAILABLE', data: { next: /--data/ } },
      path,
    );
  }
});
