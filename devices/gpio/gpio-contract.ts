/**
 * What every way to drive GPIO lines has to do, over lines that can be driven and seen from the other side. As plain checks, since a
 * virtual machine without a test runner has to pass them too.
 */
import assert from 'node:assert/strict';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import type { Edge, GpioLines, InputLine, LineAddress, WatchOptions } from './gpio-lines.js';

export interface ContractRig {
  readonly lines: GpioLines;
  /** A chip with at least six lines, as `gpiochip0`. */
  readonly chip: string;
  readonly label: string;
  /** A line of it by number and by name; null where this way knows no names here. */
  readonly named: readonly [line: number, name: string] | null;
  /** Whether edges are told with their times. */
  readonly keepsTimes: boolean;
  /** Longer than it takes to drive a line a few times. */
  readonly settleMs: number;
  /** From the other side: what is on the pin. */
  drive(line: number, isHigh: boolean): Promise<void>;
  seen(line: number): Promise<boolean>;
}

export interface Check {
  readonly name: string;
  run(): Promise<void>;
}

const [out, input] = [1, 2];

export const gpioContract = (rig: ContractRig): readonly Check[] => {
  const { lines, chip, drive, seen } = rig;
  const at = (line: number | string, more: Partial<LineAddress> = {}): LineAddress => ({
    ...{ chip, line, activeLow: false, bias: 'as-is' },
    ...more,
  });
  const check = (name: string, run: () => Promise<void>): Check => ({ name, run });
  return [
    check('an output is what it is set to, as often as it is set', async () => {
      const line = lines.output(at(out));
      for (const isOn of [true, true, false, true]) {
        await line.set(isOn);
        assert.equal(await seen(out), isOn);
      }
      await line.close();
      await line.close();
      const again = lines.output(at(out));
      await again.set(false);
      assert.equal(await seen(out), false, 'the line was given back');
      await again.close();
    }),
    check('low is on where it is said so', async () => {
      const line = lines.output(at(out, { activeLow: true }));
      await line.set(true);
      assert.equal(await seen(out), false);
      await line.set(false);
      assert.equal(await seen(out), true);
      await line.close();
    }),
    check('an input is told as it is found, and then every edge, in order', async () => {
      await drive(input, true);
      const watched = watch(lines, at(input));
      await Promise.race([watched.input.ready, watched.input.failed]);
      assert.deepEqual(watched.levels, [true]);
      for (const isHigh of [false, true, false]) {
        await drive(input, isHigh);
        await watched.told();
      }
      assert.deepEqual(
        watched.edges.map(({ isOn }) => isOn),
        [false, true, false],
      );
      await watched.input.close();
    }),
    check('an input whose on is low is told the other way round', async () => {
      await drive(input, true);
      const watched = watch(lines, at(input, { activeLow: true }));
      await Promise.race([watched.input.ready, watched.input.failed]);
      assert.deepEqual(watched.levels, [false]);
      await drive(input, false);
      await watched.told();
      assert.equal(watched.edges[0]?.isOn, true);
      await watched.input.close();
    }),
    check('a contact that bounces is told once, when it has settled', async () => {
      await drive(input, false);
      const watched = watch(lines, at(input), { debounceMs: rig.settleMs });
      await Promise.race([watched.input.ready, watched.input.failed]);
      for (let n = 0; n < 5; n += 1) {
        await drive(input, true);
        await drive(input, false);
      }
      await drive(input, true);
      await watched.told();
      await wait(rig.settleMs);
      assert.deepEqual(
        watched.edges.map(({ isOn }) => isOn),
        [true],
      );
      await watched.input.close();
    }),
    check('a line is found by the label of its chip', async () => {
      const line = lines.output(at(out, { chip: rig.label }));
      await line.set(true);
      assert.equal(await seen(out), true);
      await line.close();
    }),
    ...(rig.named === null ? [] : [check('a line is found by its name', () => byName(rig, at))]),
    ...(rig.keepsTimes ? [check('edges have their times', () => times(rig, at(input)))] : []),
    check('what is not there says so, and what to do', async () => {
      for (const address of [
        at(out, { chip: 'gpiochip99' }),
        at(out, { chip: 'nobody' }),
        at(999),
      ]) {
        const line = lines.output(address);
        await assert.rejects(
          () => line.set(true),
          (error) => isHoldfastError(error, 'GPIO_UNAVAILABLE') && error.data.next !== undefined,
        );
        await line.close();
        const watched = lines.watch(address, { edges: () => undefined });
        await assert.rejects(watched.failed, { code: 'GPIO_UNAVAILABLE' });
        await watched.close();
      }
    }),
  ];
};

const byName = async (
  { lines, named, seen }: ContractRig,
  at: (line: string) => LineAddress,
): Promise<void> => {
  const [number, name] = named ?? [0, ''];
  const line = lines.output(at(name));
  await line.set(true);
  assert.equal(await seen(number), true);
  await line.close();
  const nobody = lines.output(at('NOBODY'));
  await assert.rejects(() => nobody.set(true), { code: 'GPIO_UNAVAILABLE', message: /NOBODY/ });
};

/** Two edges that are read together are as far from each other as they were. */
const times = async ({ lines, drive }: ContractRig, address: LineAddress): Promise<void> => {
  const line = address.line as number;
  await drive(line, false);
  const watched = watch(lines, address);
  await Promise.race([watched.input.ready, watched.input.failed]);
  const driven: (readonly [before: number, after: number])[] = [];
  for (const isHigh of [true, false]) {
    const before = performance.now();
    await drive(line, isHigh);
    driven.push([before, performance.now()]);
    await watched.told();
    await wait(50);
  }
  const [[before = 0, after = 0] = [], [nextBefore = 0, nextAfter = 0] = []] = driven;
  const [one = 0, other = 0] = watched.toldAt.map((at, n) => at - (watched.edges[n]?.agoMs ?? 0));
  const apartMs = other - one;
  const [leastMs, mostMs] = [nextBefore - after - 2, nextAfter - before + 2];
  assert.ok(apartMs >= leastMs && apartMs <= mostMs, `${apartMs}: not ${leastMs} to ${mostMs} ms`);
  await watched.input.close();
};

interface Watched {
  readonly input: InputLine;
  readonly levels: boolean[];
  readonly edges: Edge[];
  readonly toldAt: number[];
  /** Resolves when one edge more is told than at the call before. */
  told(): Promise<void>;
}

const watch = (lines: GpioLines, address: LineAddress, options?: WatchOptions): Watched => {
  const [levels, edges, toldAt]: [boolean[], Edge[], number[]] = [[], [], []];
  let wake: () => void = () => undefined;
  let asked = 0;
  const handlers = {
    level: (isOn: boolean) => void levels.push(isOn),
    edges: (told: readonly Edge[]) => {
      edges.push(...told);
      toldAt.push(...told.map(() => performance.now()));
      wake();
    },
  };
  const told = async (): Promise<void> => {
    asked += 1;
    while (edges.length < asked) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { input: lines.watch(address, handlers, options), levels, edges, toldAt, told };
};
