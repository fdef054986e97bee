import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';

const workspace = join(import.meta.dirname, '..');

const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();

t.test('the committed code is what buf generates from the protos', async (t) => {
  const fresh = mkdtempSync(join(tmpdir(), 'holdfast-gen-'));
  t.teardown(() => rmSync(fresh, { recursive: true }));
  const buf = join(workspace, '../node_modules/.bin/buf');
  execFileSync(buf, ['generate', '--output', fresh], { cwd: workspace });

  const committed = join(workspace, 'gen');
  t.same(filesBelow(committed), filesBelow(join(fresh, 'gen')), 'run: npm run generate -w protos');
  for (const file of filesBelow(committed)) {
    t.equal(
      readFileSync(join(committed, file), 'utf8'),
      readFileSync(join(fresh, 'gen', file), 'utf8'),
      `${file} is stale: run npm run generate -w protos`,
    );
  }
});
