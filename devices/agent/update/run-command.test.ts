import t from 'tap';
import { runCommand, shell } from './run-command.js';

const { signal } = new AbortController();

for (const timeoutMs of [2 ** 31 + 5, 2 ** 33, 16.1 * 1_000]) {
  t.test(`lets a command have ${String(timeoutMs)} ms`, async (t) => {
    const command = shell('sleep 0.1 && echo done');
    t.match(await runCommand({ command, timeoutMs, signal }), { output: 'done\n' });
  });
}
