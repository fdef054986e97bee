/**
 * GPIO lines through the kernel's older interface with the package onoff, where the tools of libgpiod are missing. It has no resistors to
 * switch, tells an edge without its time, and keeps a line as it is when its holder is killed.
 *
 * Errors: GPIO_UNAVAILABLE.
 */
import { access, constants, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { Gpio } from 'onoff';
import { Debouncer } from './debounce.js';
import {
  type GpioLines,
  type InputLine,
  type LineAddress,
  nameOfLine,
  type OutputLine,
  type OutputOptions,
  type WatchHandlers,
  type WatchOptions,
} from './gpio-lines.js';
import { gpioUnavailable } from './gpio-unavailable.js';
import { LastWill } from './last-will.js';
import { findSysfsNumber } from './sysfs-chips.js';

type Onoff = typeof Gpio;

const sysfs = '/sys/class/gpio';
const accessWithinMs = 2_000;
const lookEveryMs = 20;

/** The package, where it is installed: it is optional, since it has to be compiled. */
export const loadOnoff = async (): Promise<Onoff | undefined> =>
  (await import('onoff').catch(() => undefined))?.Gpio;

export const onoffLines = (onoff: Onoff): GpioLines => {
  const will = new LastWill(process.env);
  return {
    output: (address, options = {}) => new OnoffOutput({ onoff, will }, address, options),
    watch: (address, handlers, options = {}) => new OnoffInput(onoff, address, handlers, options),
  };
};

/** Resolves with its number when the line is there and may be written: udev gives it to a group a moment after it appears. */
const exportLine = async (address: LineAddress): Promise<number> => {
  if (address.bias !== 'as-is') {
    throw gpioUnavailable(
      `/sys/class/gpio knows no resistors (bias ${address.bias}): install the tools of libgpiod, or set it in the firmware (config.txt: gpio=17=pu)`,
    );
  }
  const number = await findSysfsNumber(sysfs, address);
  const value = join(sysfs, `gpio${number}`, 'value');
  const isThere = (): Promise<boolean> =>
    access(value, constants.R_OK | constants.W_OK).then(
      () => true,
      () => false,
    );
  if (await isThere()) return number;
  await writeFile(join(sysfs, 'export'), String(number)).catch((error: unknown) => {
    // Exported already, and not ours yet.
    if (!messageOf(error).includes('EBUSY')) throw gpioUnavailable(messageOf(error), error);
  });
  for (let waitedMs = 0; waitedMs < accessWithinMs; waitedMs += lookEveryMs) {
    if (await isThere()) return number;
    await waitFor(lookEveryMs);
  }
  throw gpioUnavailable(`${value}: permission denied, or somebody else has the line (busy)`);
};

const opened = <T>(work: () => T): T => {
  try {
    return work();
  } catch (error) {
    throw gpioUnavailable(messageOf(error), error);
  }
};

class OnoffOutput implements OutputLine {
  readonly #deps: { readonly onoff: Onoff; readonly will: LastWill };
  readonly #address: LineAddress;
  readonly #options: OutputOptions;
  #line: Gpio | undefined;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(
    deps: { readonly onoff: Onoff; readonly will: LastWill },
    address: LineAddress,
    options: OutputOptions,
  ) {
    this.#deps = deps;
    this.#address = address;
    this.#options = options;
  }

  set(isOn: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isClosed) return;
      if (this.#line === undefined) await this.#open(isOn);
      const line = this.#line;
      opened(() => line?.writeSync(isOn ? 1 : 0));
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#inTurn(async () => {
      this.#line?.unexport();
      this.#line = undefined;
    });
    this.#deps.will.drop(nameOfLine(this.#address));
  }

  /** It comes up at the level that is wanted: these words mean what the pin has. */
  async #open(isOn: boolean): Promise<void> {
    const { onoff, will } = this.#deps;
    const { activeLow } = this.#address;
    const number = await exportLine(this.#address);
    const levelOf = (on: boolean) => (on === activeLow ? 'low' : 'high');
    const { leaveAt } = this.#options;
    if (leaveAt !== undefined) {
      const direction = join(sysfs, `gpio${number}`, 'direction');
      will.set(nameOfLine(this.#address), ['sh', '-c', `echo ${levelOf(leaveAt)} > ${direction}`]);
    }
    this.#line = opened(() => {
      const line = new onoff(number, levelOf(isOn), 'none', { activeLow });
      // Of a line that was exported before it says nothing that goes wrong.
      if (line.direction() !== 'out') throw new Error(`${number} cannot be an output`);
      return line;
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

/** Edges of one look; beyond them the line is left alone for the rest of it. */
const mostEdges = 50;
const windowMs = 100;

class OnoffInput implements InputLine {
  readonly ready: Promise<void>;
  readonly failed: Promise<never>;
  readonly #onoff: Onoff;
  readonly #address: LineAddress;
  readonly #handlers: WatchHandlers;
  readonly #wait: Wait = waitFor;
  readonly #debouncer: Debouncer | undefined;
  readonly #closing = new AbortController();
  #resolveReady: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  #line: Gpio | undefined;
  #isOn = false;
  #recent = 0;
  #overruns = 0;

  constructor(
    onoff: Onoff,
    address: LineAddress,
    handlers: WatchHandlers,
    { debounceMs = 0 }: WatchOptions,
  ) {
    this.#onoff = onoff;
    this.#address = address;
    this.#handlers = handlers;
    if (debounceMs > 0) {
      this.#debouncer = new Debouncer({
        debounceMs,
        onEdge: (edge) => handlers.edges([edge]),
        monotonic: () => performance.now(),
      });
    }
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    this.#open().catch((error: unknown) => this.#fail(error));
  }

  get overruns(): number {
    return this.#overruns;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#debouncer?.close();
    this.#line?.unexport();
    this.#line = undefined;
  }

  async #open(): Promise<void> {
    const number = await exportLine(this.#address);
    if (this.#closing.signal.aborted) return;
    const { activeLow } = this.#address;
    const line = opened(() => new this.#onoff(number, 'in', 'both', { activeLow }));
    this.#line = line;
    this.#isOn = line.readSync() === 1;
    if (this.#debouncer !== undefined) this.#debouncer.level = this.#isOn;
    this.#handlers.level?.(this.#isOn);
    this.#watch(line);
    this.#resolveReady();
  }

  #watch(line: Gpio): void {
    line.watch((error, value) => {
      if (error) {
        this.#fail(gpioUnavailable(messageOf(error), error));
        return;
      }
      this.#take(value === 1);
      this.#recent += 1;
      if (this.#recent === 1) void this.#endWindow(line);
      if (this.#recent < mostEdges) return;
      this.#overruns += 1;
      line.unwatchAll();
    });
    // It may have changed in between.
    const isOn = line.readSync() === 1;
    if (isOn !== this.#isOn) this.#take(isOn);
  }

  async #endWindow(line: Gpio): Promise<void> {
    await this.#wait(windowMs, this.#closing.signal).catch(() => undefined);
    const wasLeftAlone = this.#recent >= mostEdges;
    this.#recent = 0;
    if (wasLeftAlone && !this.#closing.signal.aborted) this.#watch(line);
  }

  #take(isOn: boolean): void {
    this.#isOn = isOn;
    const edge = { isOn, agoMs: 0 };
    if (this.#debouncer === undefined) this.#handlers.edges([edge]);
    else this.#debouncer.take(edge);
  }
}
