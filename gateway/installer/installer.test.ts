import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const program = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));

t.test('a reader that has enough, as head, makes nothing of it fail', async (t) => {
  const folder = t.testdir();
  await writeFile(join(folder, 'site.yaml'), 'names: { hosts: [gateway.local] }\n');
  const child = spawn(process.execPath, [program, 'plan', 'site.yaml', '--data', 'data'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  t.equal(said, '');
  t.equal(code, 0);
});
