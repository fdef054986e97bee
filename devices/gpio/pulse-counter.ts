/**
 * One counter: pulses are counted as they come, and the total is put on disk and told every few seconds, if there were any. A power cut
 * costs what was counted since; an orderly stop nothing.
 */
import { wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { IoDeps, IoLineState, IoPart } from './io-deps.js';
import { KeptLine } from './kept-line.js';
import type { CounterLine } from './line-settings.js';

export class PulseCounter implements IoPart {
  readonly name: string;
  /** Totals are telemetry; in the shadow every one of them would be history. */
  readonly reported = undefined;
  readonly #deps: IoDeps;
  readonly #line: CounterLine;
  readonly #kept: KeptLine;
  /** Undefined until it is read. */
  #total: number | undefined;
  /** Counted, and not on disk. */
  #fresh = 0;
  #overruns = 0;

  constructor(deps: IoDeps, line: CounterLine) {
    this.name = line.name;
    this.#deps = deps;
    this.#line = line;
    this.#kept = new KeptLine(deps, line);
  }

  open(): void {
    this.#kept.keep((signal) => this.#count(signal));
  }

  /** Keeps what was counted. Idempotent. */
  async close(): Promise<void> {
    await this.#kept.close();
    await this.#keepTotal().catch((err: unknown) =>
      this.#deps.log.warn({ err, line: this.name, pulses: this.#fresh }, 'pulses are not kept'),
    );
  }

  get state(): IoLineState {
    const total = this.#total === undefined ? 'not read yet' : String(this.#total + this.#fresh);
    const overruns = this.#overruns === 0 ? '' : `, too fast ${this.#overruns} times`;
    return {
      name: this.name,
      role: 'counter',
      problem: this.#kept.problem,
      state: `${total}${overruns}`,
    };
  }

  async #count(signal: AbortSignal): Promise<void> {
    const { gpio, wait = waitFor } = this.#deps;
    const { debounceMs, everyMs } = this.#line;
    const input = gpio.watch(
      this.#line,
      {
        edges: (edges) => {
          for (const { isOn } of edges) if (isOn) this.#fresh += 1;
        },
      },
      { debounceMs },
    );
    const before = this.#overruns;
    try {
      const closed = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      await Promise.race([closed, input.failed, input.ready]);
      // Its total is read while it counts: pulses wait for no disk.
      if (!signal.aborted) await this.#try(() => this.#readTotal());
      while (!signal.aborted) {
        await Promise.race([wait(everyMs, signal).catch(() => undefined), input.failed]);
        this.#overruns = before + input.overruns;
        await this.#try(async () => {
          await this.#readTotal();
          await this.#keepTotal();
        });
      }
    } finally {
      await input.close();
    }
  }

  /** The disk may take it the next time. */
  async #try(work: () => Promise<unknown>): Promise<void> {
    await work().then(
      () => this.#kept.works(),
      (error: unknown) => this.#kept.failed(error),
    );
  }

  async #readTotal(): Promise<number> {
    this.#total ??= await this.#deps.totals.read(this.name);
    return this.#total;
  }

  async #keepTotal(): Promise<void> {
    if (this.#fresh === 0) return;
    const before = await this.#readTotal();
    const fresh = this.#fresh;
    const total = Math.min(before + fresh, Number.MAX_SAFE_INTEGER);
    await this.#deps.totals.keep(this.name, total);
    this.#total = total;
    this.#fresh -= fresh;
    this.#deps.measured(this.name, total, 0);
  }
}
