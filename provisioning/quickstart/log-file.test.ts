import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LogFile } from './log-file.js';

const folderOf = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-log-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

t.test('keeps the newest lines within two files, in their order', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'quickstart.log');
  const fail = (text: string): void => {
    t.fail(text);
  };
  for (let number = 0; number < 100; number += 1) {
    const log = new LogFile({ path, mostBytes: 100, onFailure: fail });
    log.write(`line ${number}`);
    await log.close();
  }
  t.same((await readdir(folder)).sort(), ['quickstart.log', 'quickstart.log.previous']);
  const text = `${await readFile(`${path}.previous`, 'utf8')}${await readFile(path, 'utf8')}`;
  const lines = text.trimEnd().split('\n');
  t.ok(text.length <= 220, `${text.length} bytes in all`);
  t.equal(lines.at(-1), 'line 99');
  t.same(
    lines,
    lines.map((_, index) => `line ${100 - lines.length + index}`),
  );
});

t.test('says once that it cannot be written', async (t) => {
  const told: string[] = [];
  const path = join(await folderOf(t), 'not-there', 'quickstart.log');
  const log = new LogFile({ path, onFailure: (text) => told.push(text) });
  log.write('one');
  await log.close();
  log.write('two');
  await log.close();
  t.equal(told.length, 1);
  t.match(told[0], /not-there/);
});
