import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const program = fileURLToPath(new URL('../../bin/quickstart.js', import.meta.url));

t.test('what it does not know starts nothing and says what there is', async (t) => {
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [program, ...words], {
      encoding: 'utf8',
      env: { ...process.env, HOLDFAST_DATA: t.testdir() },
      timeout: 60_000,
    });
  t.match(run('--help'), { status: 0, stdout: /npm run wan/, stderr: '' });
  t.match(run('wann'), { status: 64, stdout: '', stderr: /npm run wan/ });
});
