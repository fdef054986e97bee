/**
 * One input: its level, once it has settled, is reported, and each change is telemetry. One that never settles is told once a second, with
 * how often it changed.
 */
import { wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { Edge } from './gpio-lines.js';
import type { IoDeps, IoLineState, IoPart } from './io-deps.js';
import { KeptLine } from './kept-line.js';
import type { SensedLine } from './line-settings.js';

/** Changes that are told at once; then one a second. */
const burst = 10;
const refillMs = 1_000;

export class SensedInput implements IoPart {
  readonly name: string;
  readonly #deps: IoDeps;
  readonly #line: SensedLine;
  readonly #kept: KeptLine;
  #isOn: boolean | undefined;
  /** What is not told yet. */
  #last: { readonly isOn: boolean; readonly at: number } | undefined;
  #changes = 0;
  #isTelling = false;
  #tokens = burst;
  #refilledAt = 0;

  constructor(deps: IoDeps, line: SensedLine) {
    this.name = line.name;
    this.#deps = deps;
    this.#line = line;
    this.#kept = new KeptLine(deps, line);
  }

  open(): void {
    this.#kept.keep((signal) => this.#watch(signal));
  }

  async close(): Promise<void> {
    await this.#kept.close();
  }

  get reported(): boolean | undefined {
    return this.#kept.problem === null ? this.#isOn : undefined;
  }

  get state(): IoLineState {
    const state = this.#isOn === undefined ? 'not read yet' : this.#isOn ? 'on' : 'off';
    return { name: this.name, role: 'input', problem: this.#kept.problem, state };
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { gpio } = this.#deps;
    const { debounceMs } = this.#line;
    const input = gpio.watch(
      this.#line,
      {
        level: (isOn) => this.#level(isOn),
        edges: (edges) => {
          for (const edge of edges) this.#edge(edge);
        },
      },
      { debounceMs },
    );
    const closed = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      await Promise.race([closed, input.failed, input.ready]);
      if (!signal.aborted) this.#kept.works();
      await Promise.race([closed, input.failed]);
    } finally {
      await input.close();
    }
  }

  /** As it is found: another than the one that was told is a change that nobody saw. */
  #level(isOn: boolean): void {
    if (isOn !== this.#isOn) this.#edge({ isOn, agoMs: 0 });
  }

  #edge({ isOn, agoMs }: Edge): void {
    this.#last = { isOn, at: this.#deps.monotonic() - agoMs };
    this.#changes += 1;
    if (!this.#isTelling) void this.#tell();
  }

  async #tell(): Promise<void> {
    const { wait = waitFor } = this.#deps;
    this.#isTelling = true;
    if (!this.#mayTell()) await wait(refillMs, this.#kept.signal).catch(() => undefined);
    this.#isTelling = false;
    const [last, changes] = [this.#last, this.#changes];
    if (last === undefined || this.#kept.isClosing) return;
    this.#last = undefined;
    this.#changes = 0;
    const { measured, changed, monotonic } = this.#deps;
    const isNews = last.isOn !== this.#isOn;
    this.#isOn = last.isOn;
    const agoMs = monotonic() - last.at;
    measured(this.name, last.isOn ? 1 : 0, agoMs);
    if (changes > 1) measured(`${this.name}.changes`, changes, agoMs);
    if (isNews) changed();
  }

  #mayTell(): boolean {
    const now = this.#deps.monotonic();
    const refilled = Math.floor((now - this.#refilledAt) / refillMs);
    if (refilled > 0) {
      this.#tokens = Math.min(burst, this.#tokens + refilled);
      this.#refilledAt = now;
    }
    if (this.#tokens === 0) return false;
    this.#tokens -= 1;
    return true;
  }
}
