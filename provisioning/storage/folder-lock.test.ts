import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { lockFolder } from './folder-lock.js';

t.test('a folder is used by one at a time', async (t) => {
  const folder = t.testdir();
  const first = await lockFolder(folder);
  await t.rejects(lockFolder(folder, { waitMs: 10 }), { code: 'STORE_IN_USE' });
  await first.close();
  const second = await lockFolder(folder, { waitMs: 10 });
  await second.close();
});

t.test('a folder is free again after its program was killed', async (t) => {
  const folder = t.testdir();
  const script = `import { lockFolder } from ${JSON.stringify(new URL('folder-lock.js', import.meta.url).href)};
    await lockFolder(${JSON.stringify(folder)});
    console.log('locked');
    setInterval(() => undefined, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  await t.rejects(lockFolder(folder, { waitMs: 10 }), { code: 'STORE_IN_USE' });
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  const lock = await lockFolder(folder, { waitMs: 10 });
  await lock.close();
});
