import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t, { type Test } from 'tap';
import type { Edge } from './gpio-lines.js';
import { libgpiodTools, toolsVersion } from './libgpiod-tools.js';
import {
  type FoundLine,
  getCommand,
  leaveCommand,
  parseChips,
  parseEdge,
  parseLineNumber,
  setCommand,
  watchCommand,
} from './tool-commands.js';

const led: FoundLine = { chip: 'gpiochip0', line: 17, activeLow: false, bias: 'as-is' };
const button: FoundLine = { chip: 'gpiochip0', line: 4, activeLow: true, bias: 'pull-up' };

/** Tools that note what they are called with; a line that is held twice is refused, as the kernel does. */
const fakeTools = async (
  t: Test,
  { version = '1.6.3', gpiomon = 'exec sleep 100', gpioget = 'echo 0', lookEveryMs = 600_000 } = {},
) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gpio-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const tool = (name: string, body: string) =>
    writeFile(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  await tool(
    'gpioset',
    `[ "$1" = --version ] && { echo "gpioset (libgpiod) v${version}"; exit; }
case "$*" in *--mode=exit*) echo "$@" >> ${folder}/calls; exit;; esac
mkdir ${folder}/held 2>/dev/null || { echo "Device or resource busy" >&2; exit 1; }
trap 'rmdir ${folder}/held; kill $pid; exit' TERM
echo "$@" >> ${folder}/calls
sleep 20 & pid=$!
touch ${folder}/has-$$
wait`,
  );
  await tool('gpiomon', `echo "gpiomon $@" >> ${folder}/calls\ntouch ${folder}/has-$$\n${gpiomon}`);
  await tool('gpioget', gpioget);
  await tool('gpiodetect', 'echo "gpiochip3 [pinctrl-bcm2711] (58 lines)"');
  await tool('gpioinfo', `printf '\tline  17:   "GPIO17"  "x" output\n'`);
  const calls = join(folder, 'calls');
  await writeFile(calls, '');
  const environment = { PATH: `${folder}:/usr/bin:/bin` };
  return {
    folder,
    environment,
    lines: libgpiodTools({
      environment,
      lookEveryMs,
      holdsLine: async (pid) => existsSync(join(folder, `has-${pid}`)),
    }),
    called: async (count: number): Promise<string[]> => {
      const changes = watch(calls);
      try {
        for (;;) {
          // What is written while it is read counts too.
          const changed = once(changes, 'change');
          const found = (await readFile(calls, 'utf8')).split('\n').filter((line) => line !== '');
          if (found.length >= count) return found;
          await changed;
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
  t.same(leaveCommand(1, led, false).join(' '), 'gpioset --mode=exit gpiochip0 17=0');
  t.same(leaveCommand(2, led, false).join(' '), 'gpioset --toggle 0 --chip gpiochip0 17=0');
  t.same(getCommand(1, button).join(' '), 'gpioget --active-low --bias=pull-up gpiochip0 4');
  t.match(getCommand(2, led).join(' '), 'gpioget --numeric --chip gpiochip0 17');
  t.match(watchCommand(1, button).join(' '), /--active-low --bias=pull-up gpiochip0 4$/);
  t.match(watchCommand(2, button, 20).join(' '), /--debounce-period 20ms --chip gpiochip0 4$/);
  for (const [version, generation] of [
    ['1.6.3', 1],
    ['2.2.1', 2],
  ] as const) {
    const { environment } = await fakeTools(t, { version });
    t.equal(await toolsVersion(environment), generation);
  }
});

t.test('reads what the tools of both generations print', async (t) => {
  t.same(parseEdge('1 12 500000000', 12_750), { isOn: true, agoMs: 250 }, '1.6');
  t.same(parseEdge('0 12 5', 12_000), { isOn: false, agoMs: 0 }, 'it cannot come after it is told');
  t.same(parseEdge('2 12.250000000', 12_750), { isOn: false, agoMs: 500 }, '2.x');
  t.same(parseEdge('1 1760000000 0', 12_750), { isOn: true, agoMs: 0 }, 'the time of day');
  t.equal(parseEdge('gpiomon: x', 1), undefined);
  t.same(parseChips('gpiochip0 [pinctrl-bcm2711] (58 lines)\ngpiochip1 [x] (8 lines)\n'), [
    { name: 'gpiochip0', label: 'pinctrl-bcm2711' },
    { name: 'gpiochip1', label: 'x' },
  ]);
  const older =
    'gpiochip0 - 2 lines:\n\tline   0:      unnamed       unused   input  active-high \n\tline   4:  "DOOR"  unused input\n';
  t.equal(parseLineNumber(older, 'DOOR'), 4);
  t.equal(parseLineNumber('gpiochip0 - 8 lines:\n\tline   5:\t"LAMP"  \tinput\n', 'LAMP'), 5);
  t.equal(parseLineNumber(older, 'LAMP'), undefined);
});

t.test('finds a chip by its label and a line by what the kernel calls it', async (t) => {
  const { lines, called } = await fakeTools(t);
  const output = lines.output({ ...led, chip: 'pinctrl-bcm2711', line: 'GPIO17' });
  await output.set(true);
  t.same(await called(1), ['--mode=signal gpiochip3 17=1']);
  await output.close();
  await t.rejects(lines.output({ ...led, chip: 'pinctrl-rp1' }).set(true), {
    code: 'GPIO_UNAVAILABLE',
    message: /gpiochip3 \[pinctrl-bcm2711\]/,
  });
  await t.rejects(lines.output({ ...led, line: 'GPIO99' }).set(true), { message: /GPIO99/ });
});

t.test('holds a line by one process at a time, and gives it back', async (t) => {
  const { lines, called } = await fakeTools(t);
  const output = lines.output(led);
  await output.set(true);
  await called(1);
  await output.set(true);
  await output.set(false);
  t.same(await called(2), ['--mode=signal gpiochip0 17=1', '--mode=signal gpiochip0 17=0']);
  const other = lines.output(led);
  await t.rejects(other.set(true), { code: 'GPIO_UNAVAILABLE', message: /busy/ });
  await other.close();
  await output.close();
  await output.close();
  const again = lines.output(led);
  await again.set(true);
  t.equal((await called(3)).length, 3, 'it is free again');
  await again.close();
});

t.test('says when a line is held no longer, and by nobody’s wish', async (t) => {
  const { lines, folder } = await fakeTools(t);
  const lost = new Promise<Error>((resolve) => {
    const output = lines.output(led, { onLost: resolve });
    t.teardown(() => output.close());
    void output.set(true).then(async () => {
      const pid = (await readdir(folder)).find((name) => name.startsWith('has-'));
      process.kill(Number(pid?.slice(4)), 'SIGTERM');
    });
  });
  t.match(await lost, { code: 'GPIO_UNAVAILABLE', message: /gpiochip0 17 is held no longer/ });
});

t.test('tells the edges of a line, and when it cannot be watched any longer', async (t) => {
  const { lines } = await fakeTools(t, {
    gpioget: 'echo 1',
    gpiomon: 'printf "0 1 0\\n1 1 0\\n0 1 0\\n"; echo "chip is gone" >&2; exit 1',
  });
  const edges: Edge[] = [];
  const levels: boolean[] = [];
  const input = lines.watch(button, {
    level: (isOn) => levels.push(isOn),
    edges: (told) => edges.push(...told),
  });
  await t.rejects(input.failed, { code: 'GPIO_UNAVAILABLE', message: /chip is gone/ });
  t.same(levels, [true], 'as it was before');
  t.same(
    edges.map(({ isOn }) => isOn),
    [false, true, false],
  );
  await input.close();
});

t.test('a quiet line is looked at anew', async (t) => {
  const { lines, called } = await fakeTools(t, { lookEveryMs: 1 });
  const input = lines.watch(button, { level: () => undefined, edges: () => undefined });
  await called(3);
  await input.close();
  t.pass('read and watched three times');
});

t.test('a line that chatters is read in bounded looks, and its last level counts', async (t) => {
  const count = 20_000;
  const { lines } = await fakeTools(t, {
    gpiomon: `awk 'BEGIN { for (i = 0; i < ${count / 2}; i++) print "1 1 0\\n0 1 0" }'; exec sleep 100`,
  });
  let told = 0;
  let looks = 0;
  await new Promise<void>((resolve) => {
    const input = lines.watch(button, {
      edges: (edges) => {
        told += edges.length;
        looks += 1;
        if (told === count) resolve();
      },
    });
    t.teardown(() => input.close());
  });
  t.equal(told, count, 'none is lost by us');
  t.ok(looks < count / 20, `${looks} looks`);
});

/** A program that holds a line, to be left off; resolves when it does. */
const holdInProgram = async ({ environment, folder }: Awaited<ReturnType<typeof fakeTools>>) => {
  const module = new URL('./libgpiod-tools.js', import.meta.url).href;
  const program = `
    import { existsSync } from 'node:fs';
    import { libgpiodTools } from ${JSON.stringify(module)};
    const lines = libgpiodTools({ holdsLine: async (pid) => existsSync('${folder}/has-' + pid) });
    const given = lines.output(${JSON.stringify({ ...led, line: 4 })}, { leaveAt: true });
    await given.set(false);
    await given.close();
    const onLost = () => output.close().then(() => console.log('lost'));
    const output = lines.output(${JSON.stringify(led)}, { leaveAt: false, onLost });
    await output.set(true);
    console.log('set');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  // As the kernel does when nobody holds it.
  await rm(join(folder, 'held'), { recursive: true });
  /** The shells that see to its lines. */
  const shells = async (): Promise<number[]> => {
    const started = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
    const pids = started.trim().split(' ');
    const words = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    );
    return pids.filter((_, at) => words[at]?.startsWith('/bin/sh')).map(Number);
  };
  return { child, shells };
};

t.test('leaves a line where it is to be left when it is killed, and only then', async (t) => {
  const tools = await fakeTools(t);
  const { child, shells } = await holdInProgram(tools);
  // What a watchdog sends goes to all of a service, the one that has to see to its lines too.
  for (const pid of await shells()) process.kill(pid, 'SIGABRT');
  child.kill('SIGKILL');
  const calls = await tools.called(3);
  t.same(calls.slice(1), ['--mode=signal gpiochip0 17=1', '--mode=exit gpiochip0 17=0']);
});

t.test('sees to a line when what was to see to it is killed before', async (t) => {
  const tools = await fakeTools(t);
  const { child, shells } = await holdInProgram(tools);
  t.teardown(() => child.kill('SIGKILL'));
  const before = await shells();
  for (const pid of before) process.kill(pid, 'SIGKILL');
  const isAnother = async () => (await shells()).some((pid) => !before.includes(pid));
  await waitUntil('another shell', isAnother, { deadlineMs: 5_000, everyMs: 20 });
  child.kill('SIGKILL');
  t.equal((await tools.called(3)).at(-1), '--mode=exit gpiochip0 17=0');
});

t.test('sees to a line that was lost, and that nobody has had again', async (t) => {
  const tools = await fakeTools(t);
  const { child, shells } = await holdInProgram(tools);
  t.teardown(() => child.kill('SIGKILL'));
  const lost = once(child.stdout, 'data');
  for (const name of await readdir(tools.folder)) {
    // That of the line before has ended.
    if (!name.startsWith('has-')) continue;
    await promisify(execFile)('kill', [name.slice(4)]).catch(() => undefined);
  }
  t.match(String((await lost)[0]), 'lost');
  t.equal((await shells()).length, 1);
  child.kill('SIGKILL');
  t.equal((await tools.called(3)).at(-1), '--mode=exit gpiochip0 17=0');
});

t.test('says what to install where the tools are missing, and finds them later', async (t) => {
  const missing = libgpiodTools({ environment: { PATH: '/nonexistent' } });
  const wanted = { code: 'GPIO_UNAVAILABLE', data: { next: 'sudo apt install gpiod' } };
  await t.rejects(missing.output(led).set(true), wanted);
  await t.rejects(missing.watch(led, { edges: () => undefined }).failed, wanted);
});
