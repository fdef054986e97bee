/**
 * Runs where there are GPIO lines to be driven and seen: in a virtual machine with the kernel's gpio-sim, or over a file system in place of
 * /sys/class/gpio. Says on its standard output what it found: `ok NAME`, `not ok NAME: WHY`, and `done`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import type { Check, ContractRig } from '../gpio-contract.js';
import { gpioContract } from '../gpio-contract.js';
import type { GpioLines, LineAddress } from '../gpio-lines.js';
import { IoLines } from '../io-lines.js';
import { libgpiodTools, toolsVersion } from '../libgpiod-tools.js';
import { type ConfiguredLine, ioLinesOf } from '../line-settings.js';
import { loadOnoff, onoffLines } from '../onoff-lines.js';
import { openGpio } from '../open-gpio.js';
import { usbChecks } from './usb-checks.js';

type Backend = 'libgpiod 1.6' | 'libgpiod 2' | 'onoff';

/** In front of the host's own, which are 1.6's. */
const newerTools = {
  ...process.env,
  PATH: `${process.env.NEWER_TOOLS}:${process.env.PATH}`,
};

const linesOf = async (backend: Backend): Promise<GpioLines> => {
  if (backend === 'libgpiod 1.6') return libgpiodTools();
  if (backend === 'libgpiod 2') return libgpiodTools({ environment: newerTools });
  const onoff = await loadOnoff();
  assert.ok(onoff, 'the package onoff is not installed');
  return onoffLines(onoff);
};

const fuse: Omit<ContractRig, 'lines' | 'keepsTimes'> = {
  chip: 'gpiochip0',
  label: 'pinctrl-simulated',
  named: [5, 'LAMP'],
  settleMs: 50,
  drive: (line, isHigh) => writeFile(`/sys/class/gpio/sim/${line}`, isHigh ? '1' : '0'),
  seen: async (line) => (await readFile(`/sys/class/gpio/sim/${line}`, 'utf8')).startsWith('1'),
};

const simulated = '/sys/devices/platform/gpio-sim.0/gpiochip0';
const gpioSim: typeof fuse = {
  chip: 'gpiochip0',
  label: 'pi-bank',
  named: [5, 'LAMP'],
  settleMs: 500,
  drive: (line, isHigh) =>
    writeFile(`${simulated}/sim_gpio${line}/pull`, isHigh ? 'pull-up' : 'pull-down'),
  seen: async (line) =>
    (await readFile(`${simulated}/sim_gpio${line}/value`, 'utf8')).startsWith('1'),
};

const [relayLine, inputLine, counterLine] = [3, 4, 6];

const configured = (chip: string): readonly ConfiguredLine[] => {
  const at = { chip, activeLow: false, bias: 'as-is' } as const;
  return [
    { ...at, name: 'heater', role: 'relay', line: relayLine, safe: 'off', minOnS: 0, minOffS: 0 },
    { ...at, name: 'contact', role: 'input', line: inputLine },
    { ...at, name: 'meter', role: 'counter', line: counterLine, everyS: 1 },
  ];
};

const openIo = (gpio: GpioLines, chip: string) => {
  let wake: () => void = () => undefined;
  const totals = new Map<string, number>();
  const io = new IoLines(
    {
      gpio,
      totals: {
        read: async (name) => totals.get(name) ?? 0,
        keep: async (name, total) => void totals.set(name, total),
      },
      changed: () => wake(),
      measured: () => wake(),
      log: { info: () => undefined, warn: (data) => console.error(data) },
      monotonic: () => performance.now(),
    },
    { lines: ioLinesOf(configured(chip)) },
  );
  io.open();
  const until = async (look: () => boolean): Promise<void> => {
    while (!look()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { io, totals, until };
};

/** A relay, an input and a counter, and what is left of the relay when its process is killed. */
const roles = ({ lines, chip, drive, seen }: ContractRig, backend: Backend): readonly Check[] => [
  {
    name: 'a relay follows, an input is reported, and no pulse of a counter is missed',
    run: async () => {
      for (const line of [relayLine, inputLine, counterLine]) {
        await drive(line, false).catch(() => undefined);
      }
      const { io, totals, until } = openIo(lines, chip);
      await until(() => io.reported.heater === false && io.reported.contact === false);
      io.desire({ heater: true });
      await until(() => io.reported.heater === true);
      assert.equal(await seen(relayLine), true);
      await drive(inputLine, true);
      await until(() => io.reported.contact === true);
      await until(() => io.states()[2]?.state === '0');
      for (let pulse = 1; pulse <= 8; pulse += 1) {
        await drive(counterLine, true);
        await until(() => io.states()[2]?.state === String(pulse));
        await drive(counterLine, false);
        // sysfs keeps no edges: the end of a pulse has to be seen before the next, and what came after it tells that it was.
        const contact = pulse % 2 === 0;
        await drive(inputLine, contact);
        await until(() => io.reported.contact === contact);
      }
      await until(() => totals.get('meter') === 8);
      await io.close();
      assert.equal(await seen(relayLine), false, 'safe at the end');
    },
  },
  {
    name: 'a killed process leaves its relay safe',
    run: async () => {
      const child = spawn(
        process.execPath,
        [fileURLToPath(import.meta.url), 'hold', backend, chip],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await once(child.stdout, 'data');
      assert.equal(await seen(relayLine), true);
      child.kill('SIGKILL');
      for (let ms = 0; ms < 10_000 && (await seen(relayLine)); ms += 20) await wait(20);
      assert.equal(await seen(relayLine), false);
      // And nobody holds it any longer, so that the next process can have it.
      const line = lines.output({ chip, line: relayLine, activeLow: false, bias: 'as-is' });
      for (let ms = 0; ; ms += 50) {
        const refused = await line.set(true).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (refused === undefined) break;
        if (ms > 3_000) throw refused;
        await wait(50);
      }
      await line.close();
    },
  },
];

/** A pin that toggles as fast as this process can: bounded, counted, and its last level is the one that stays. */
const flood = ({ lines, chip, drive }: ContractRig, toggles: number): Check => ({
  name: 'a line that chatters is told in bounded looks, and ends as it is',
  run: async () => {
    await drive(inputLine, false);
    let looks = 0;
    let isOn: boolean | undefined;
    const address: LineAddress = { chip, line: inputLine, activeLow: false, bias: 'as-is' };
    const watched = lines.watch(address, {
      level: (found) => {
        isOn = found;
      },
      edges: (edges) => {
        looks += 1;
        isOn = edges.at(-1)?.isOn;
      },
    });
    await Promise.race([watched.ready, watched.failed]);
    const before = performance.now();
    for (let n = 0; n < toggles; n += 1) await drive(inputLine, n % 2 === 0);
    await drive(inputLine, true);
    const takenMs = performance.now() - before;
    for (let ms = 0; ms < 5_000 && isOn !== true; ms += 50) await wait(50);
    await wait(300);
    assert.equal(isOn, true);
    assert.ok(looks < 60 + takenMs, `${looks} looks in ${takenMs} ms`);
    await watched.close();
  },
});

/** Several processes hold one line, one says so. */
const taken = ({ lines, chip }: ContractRig): Check => ({
  name: 'a line that somebody else has is refused',
  run: async () => {
    const address: LineAddress = { chip, line: 0, activeLow: false, bias: 'as-is' };
    const [one, other] = [lines.output(address), lines.output(address)];
    await one.set(true);
    await assert.rejects(() => other.set(true), { code: 'GPIO_UNAVAILABLE', message: /busy/i });
    await one.close();
    await other.close();
  },
});

const backendIs = (name: string): Check => ({
  name: `what drives the lines here is ${name}`,
  run: async () => assert.equal((await openGpio().backend()).name, name),
});

const newerAreTwo: Check = {
  name: 'the newer tools are of libgpiod 2',
  run: async () => assert.equal(await toolsVersion(newerTools), 2),
};

const named = (backend: string, checks: readonly Check[]) =>
  checks.map((one): readonly [string, Check] => [backend, one]);

const toolChecks = async (backend: 'libgpiod 1.6' | 'libgpiod 2') => {
  const rig = { ...gpioSim, lines: await linesOf(backend), keepsTimes: true };
  return named(backend, [
    ...gpioContract(rig),
    taken(rig),
    flood(rig, 300),
    ...roles(rig, backend),
  ]);
};

const checksOf = async (place: string): Promise<readonly (readonly [string, Check])[]> => {
  if (place === 'fuse') {
    const rig = { ...fuse, lines: await linesOf('onoff'), keepsTimes: false };
    return named('onoff', [...gpioContract(rig), flood(rig, 2_000), ...roles(rig, 'onoff')]);
  }
  const onoff = { ...gpioSim, lines: await linesOf('onoff'), keepsTimes: false, named: null };
  return [
    ...named('tools', [backendIs('libgpiod 1.6'), newerAreTwo]),
    ...(await toolChecks('libgpiod 1.6')),
    ...(await toolChecks('libgpiod 2')),
    ...named('onoff', [...gpioContract(onoff), ...roles(onoff, 'onoff')]),
    ...named('usb', usbChecks()),
  ];
};

const limitMs = 40_000;

const run = async (place: string): Promise<void> => {
  for (const [group, check] of await checksOf(place)) {
    const name = `${group}: ${check.name}`;
    const over = new AbortController();
    const late = wait(limitMs, over.signal).then(
      () => Promise.reject(new Error('it did not end in time')),
      () => undefined,
    );
    const begun = performance.now();
    try {
      await Promise.race([check.run(), late]);
      console.log(`ok ${name} (${Math.round(performance.now() - begun)} ms)`);
    } catch (error) {
      console.log(`not ok ${name}: ${messageOf(error).replaceAll('\n', ' | ')}`);
    } finally {
      over.abort();
    }
  }
  console.log('done');
  process.exit(0);
};

const [mode = '', backend = '', chip = ''] = process.argv.slice(2);
if (mode === 'hold') {
  const { io, until } = openIo(await linesOf(backend as Backend), chip);
  io.desire({ heater: true });
  await until(() => io.reported.heater === true);
  console.log('on');
} else await run(mode);
