/** GPIO lines that are not there, for tests: levels are set and seen by hand, and lines can be taken away. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type GpioLines,
  type InputLine,
  type LineAddress,
  nameOfLine,
  type OutputLine,
  type OutputOptions,
  type WatchHandlers,
} from './gpio-lines.js';

type At = Pick<LineAddress, 'chip' | 'line'>;

export class SimulatedGpio implements GpioLines {
  readonly #levels = new Map<string, boolean>();
  readonly #held = new Map<string, OutputOptions>();
  readonly #watched = new Map<string, { handlers: WatchHandlers; fail: (error: Error) => void }>();
  readonly #broken = new Set<string>();
  readonly #waiting = new Set<() => void>();
  /** Every level that an output was set to, in order. */
  readonly sets: (readonly [line: string, isOn: boolean])[] = [];

  /** What an output shows; undefined when nobody holds it. */
  shown(at: At): boolean | undefined {
    const name = nameOfLine(at);
    return this.#held.has(name) ? this.#levels.get(name) : undefined;
  }

  isWatched(at: At): boolean {
    return this.#watched.has(nameOfLine(at));
  }

  /** Edges of an input, one after the other. */
  drive(at: At, ...levels: readonly boolean[]): void {
    const name = nameOfLine(at);
    const edges = levels.filter((isOn, n) => isOn !== (levels[n - 1] ?? this.#levels.get(name)));
    this.#levels.set(name, levels.at(-1) ?? false);
    this.#watched.get(name)?.handlers.edges(edges.map((isOn) => ({ isOn, agoMs: 0 })));
    this.#changed();
  }

  /** Nobody can have it from now on, and who has it loses it. */
  break(at: At): void {
    this.#broken.add(nameOfLine(at));
    this.lose(at);
  }

  /** Who has it loses it, as when a signal ends the tool that held it; it stays as it is. */
  lose(at: At): void {
    const name = nameOfLine(at);
    const held = this.#held.get(name);
    this.#held.delete(name);
    held?.onLost?.(gone(name));
    this.#watched.get(name)?.fail(gone(name));
    this.#changed();
  }

  mend(at: At): void {
    this.#broken.delete(nameOfLine(at));
  }

  /** Resolves as soon as `look` says so; it is asked after everything that happens to a line. */
  async until(look: () => boolean): Promise<void> {
    while (!look()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  output(address: LineAddress, options: OutputOptions = {}): OutputLine {
    const name = nameOfLine(address);
    return {
      set: async (isOn) => {
        if (this.#broken.has(name)) throw gone(name);
        this.#held.set(name, options);
        if (this.#levels.get(name) !== isOn || this.sets.every(([of]) => of !== name)) {
          this.sets.push([name, isOn]);
        }
        this.#levels.set(name, isOn);
        this.#changed();
      },
      close: async () => {
        this.#held.delete(name);
        this.#changed();
      },
    };
  }

  watch(address: LineAddress, handlers: WatchHandlers): InputLine {
    const name = nameOfLine(address);
    let fail: (error: Error) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    failed.catch(() => undefined);
    if (this.#broken.has(name)) fail(gone(name));
    else {
      this.#watched.set(name, { handlers, fail });
      handlers.level?.(this.#levels.get(name) ?? false);
      this.#changed();
    }
    return {
      ready: this.#broken.has(name) ? new Promise(() => undefined) : Promise.resolve(),
      failed,
      overruns: 0,
      close: async () => void this.#watched.delete(name),
    };
  }

  #changed(): void {
    setImmediate(() => {
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
  }
}

const gone = (name: string) => new HoldfastError('GPIO_UNAVAILABLE', `${name} is not there`);
