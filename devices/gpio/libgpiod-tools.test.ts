import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { LineAddress } from './gpio-lines.js';
import { libgpiodTools, setCommand, toolsVersion, watchCommand } from './libgpiod-tools.js';

const led: LineAddress = { chip: 'gpiochip0', line: 17, activeLow: false, bias: 'as-is' };
const button: LineAddress = { chip: 'gpiochip0', line: 4, activeLow: true, bias: 'pull-up' };

/** Tools that note what they are called with; a line that is held twice is refused, as the kernel does. */
const fakeTools = async (t: Test, { version = '1.6.3', gpiomon = 'exec sleep 100' } = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gpio-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const head = `#!/bin/sh\n[ "$1" = --version ] && { echo "gpioset (libgpiod) v${version}"; exit; }\n`;
  await writeFile(
    join(folder, 'gpioset'),
    `${head}mkdir ${folder}/held 2>/dev/null || { echo "Device or resource busy" >&2; exit 1; }
trap 'rmdir ${folder}/held; kill $pid; exit' TERM
echo "$@" >> ${folder}/calls
sleep 100 & pid=$!
wait\n`,
    { mode: 0o755 },
  );
  await writeFile(join(folder, 'gpiomon'), `#!/bin/sh\n${gpiomon}\n`, { mode: 0o755 });
  const calls = join(folder, 'calls');
  await writeFile(calls, '');
  const environment = { PATH: `${folder}:/usr/bin:/bin` };
  return {
    environment,
    lines: libgpiodTools({ environment }),
    called: async (count: number): Promise<string[]> => {
      const changes = watch(calls);
      try {
        for (;;) {
          const found = (await readFile(calls, 'utf8')).split('\n').filter((line) => line !== '');
          if (found.length >= count) return found;
          await once(changes, 'change');
        }
      } finally {
        changes.close();
      }
    },
  };
};

t.test('speaks to the tools of both generations', async (t) => {
  t.same(
    setCommand(1, led, true),
    ['gpioset', '--mode=signal', 'gpiochip0', '17=1'],
    '1.6: Debian 12',
  );
  t.same(setCommand(2, { ...led, activeLow: true }, false), [
    'gpioset',
    '--active-low',
    '--chip',
    'gpiochip0',
    '17=0',
  ]);
  t.match(watchCommand(1, button).join(' '), /--active-low --bias=pull-up gpiochip0 4$/);
  t.match(watchCommand(2, button).join(' '), /--bias=pull-up --chip gpiochip0 4$/);
  for (const [version, generation] of [
    ['1.6.3', 1],
    ['2.2.1', 2],
  ] as const) {
    const { environment } = await fakeTools(t, { version });
    t.equal(await toolsVersion(environment), generation);
  }
});

t.test('holds a line by one process at a time, and gives it back', async (t) => {
  const { lines, called } = await fakeTools(t);
  const output = lines.output(led);
  await output.set(true);
  await called(1);
  await output.set(true);
  await output.set(false);
  t.same(await called(2), ['--mode=signal gpiochip0 17=1', '--mode=signal gpiochip0 17=0']);
  await output.close();
  await output.close();
  const again = lines.output(led);
  await again.set(true);
  t.equal((await called(3)).length, 3, 'it is free again');
  await again.close();
});

t.test('tells the edges of a line, and when it cannot be watched any longer', async (t) => {
  const { lines } = await fakeTools(t, {
    gpiomon: 'printf "1\\n0\\n1\\n2\\n"; echo "chip is gone" >&2; exit 1',
  });
  const edges: boolean[] = [];
  const input = lines.watch(button, (isOn) => edges.push(isOn));
  await t.rejects(input.failed, { code: 'GPIO_UNAVAILABLE', message: /chip is gone/ });
  t.same(edges, [true, false, true, false]);
  await input.close();
});

t.test('says what to install where the tools are missing, and finds them later', async (t) => {
  const missing = libgpiodTools({ environment: { PATH: '/nonexistent' } });
  const wanted = { code: 'GPIO_UNAVAILABLE', data: { next: 'sudo apt install gpiod' } };
  await t.rejects(missing.output(led).set(true), wanted);
  await t.rejects(missing.watch(led, () => undefined).failed, wanted);
});
