/**
 * The lines of this machine: through the tools of libgpiod where they are, through onoff where not. It is looked at whenever a line is
 * begun, so that what is installed meanwhile is found.
 */
import { access, constants } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type {
  GpioLines,
  InputLine,
  LineAddress,
  OutputLine,
  OutputOptions,
  WatchHandlers,
  WatchOptions,
} from './gpio-lines.js';
import { libgpiodTools, toolsVersion } from './libgpiod-tools.js';
import { loadOnoff, onoffLines } from './onoff-lines.js';

/** What drives lines here; `name` is null where nothing can. */
export interface GpioBackend {
  readonly name: 'libgpiod 1.6' | 'libgpiod 2' | 'onoff' | null;
  /** Why not another, or none. */
  readonly reason: string;
  /** What to do about it; empty where nothing has to be done. */
  readonly next: string;
}

export interface OpenedGpio extends GpioLines {
  backend(): Promise<GpioBackend>;
}

const next = 'sudo apt install gpiod';

export const openGpio = (): OpenedGpio => {
  const tools = libgpiodTools();
  let older: Promise<GpioLines | string> | undefined;
  const onoff = (): Promise<GpioLines | string> => {
    older ??= openOnoff();
    return older;
  };
  const choose = async (): Promise<{ readonly lines: GpioLines | null } & GpioBackend> => {
    const version = await toolsVersion().catch(messageOf);
    if (version === 1 || version === 2) {
      const name = version === 1 ? 'libgpiod 1.6' : 'libgpiod 2';
      return { lines: tools, name, reason: '', next: '' };
    }
    const found = await onoff();
    if (typeof found !== 'string') {
      const reason = `${version}: no resistors, and edges without their times`;
      return { lines: found, name: 'onoff', reason, next };
    }
    older = undefined;
    return { lines: null, name: null, reason: `${version}, and ${found}`, next };
  };
  const linesOf = async (): Promise<GpioLines> => {
    const { lines, reason } = await choose();
    if (lines !== null) return lines;
    throw new HoldfastError('GPIO_UNAVAILABLE', reason, { data: { next } });
  };
  return {
    backend: async () => {
      const { name, reason, next: todo } = await choose();
      return { name, reason, next: todo };
    },
    output: (address, options) => new ChosenOutput(linesOf, address, options),
    watch: (address, handlers, options) => new ChosenInput(linesOf, address, handlers, options),
  };
};

/** The lines, or why there are none. */
const openOnoff = async (): Promise<GpioLines | string> => {
  const onoff = await loadOnoff();
  if (onoff === undefined) return 'the package onoff is not installed';
  return access('/sys/class/gpio/export', constants.W_OK).then(
    () => onoffLines(onoff),
    () => '/sys/class/gpio is not there, or may not be written',
  );
};

class ChosenOutput implements OutputLine {
  readonly #choose: () => Promise<GpioLines>;
  readonly #address: LineAddress;
  readonly #options: OutputOptions | undefined;
  #line: Promise<OutputLine> | undefined;

  constructor(
    choose: () => Promise<GpioLines>,
    address: LineAddress,
    options: OutputOptions | undefined,
  ) {
    this.#choose = choose;
    this.#address = address;
    this.#options = options;
  }

  async set(isOn: boolean): Promise<void> {
    this.#line ??= this.#choose().then((lines) => lines.output(this.#address, this.#options));
    const line = await this.#line.catch((error: unknown) => {
      this.#line = undefined;
      throw error;
    });
    await line.set(isOn);
  }

  async close(): Promise<void> {
    const line = await this.#line?.catch(() => undefined);
    await line?.close();
  }
}

class ChosenInput implements InputLine {
  readonly ready: Promise<void>;
  readonly failed: Promise<never>;
  #line: InputLine | undefined;
  #isClosed = false;

  constructor(
    choose: () => Promise<GpioLines>,
    address: LineAddress,
    handlers: WatchHandlers,
    options: WatchOptions | undefined,
  ) {
    const line = choose().then((lines) => {
      if (this.#isClosed) return undefined;
      this.#line = lines.watch(address, handlers, options);
      return this.#line;
    });
    const never = new Promise<never>(() => undefined);
    this.ready = line.then((chosen) => chosen?.ready ?? never).catch(() => never);
    this.failed = line.then((chosen) => chosen?.failed ?? never);
    this.failed.catch(() => undefined);
  }

  get overruns(): number {
    return this.#line?.overruns ?? 0;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#line?.close();
  }
}
