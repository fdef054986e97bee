/**
 * An input that a process of `gpiomon` watches.
 *
 * What it says is read at most fifty times a second, whatever comes: a line that chatters fills the pipe, then the tool waits, and then the
 * kernel lets edges go, of Linux' older interface the last ones. The tools cannot say how a line is while they watch it. So it is read
 * before, again once it is quiet after it chattered, and again when it was quiet for long, should it have changed in the moment in between.
 * Where nobody wants to know the level, as of a counter, it is never left for that.
 */
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import { Debouncer } from './debounce.js';
import type { Edge, InputLine, LineAddress, WatchHandlers, WatchOptions } from './gpio-lines.js';
import type { ToolsDeps } from './libgpiod-tools.js';
import {
  debouncesItself,
  type FoundLine,
  getCommand,
  parseEdge,
  watchCommand,
} from './tool-commands.js';
import { ToolProcess } from './tool-process.js';

const longestTextBytes = 256;
/** Without a rest: the kernel keeps sixteen that nobody has read. */
const manyEdges = 8;
const quietMs = 200;

export class WatchedLine implements InputLine {
  readonly ready: Promise<void>;
  readonly failed: Promise<never>;
  readonly #deps: ToolsDeps;
  readonly #address: LineAddress;
  readonly #handlers: WatchHandlers;
  readonly #debounceMs: number;
  readonly #wait: Wait = waitFor;
  readonly #debouncer: Debouncer | undefined;
  readonly #closing = new AbortController();
  #resolveReady: () => void = () => undefined;
  #tool: ToolProcess | undefined;
  /** Of a line that has not come whole. */
  #rest = '';
  #edges = 0;
  #overruns = 0;
  #last: Edge | undefined;
  #heardAt = Number.NEGATIVE_INFINITY;
  #burst = 0;
  /** Whether edges may be missing. */
  #isInDoubt = false;
  #sleep = new AbortController();

  constructor(
    deps: ToolsDeps,
    address: LineAddress,
    handlers: WatchHandlers,
    { debounceMs = 0 }: WatchOptions,
  ) {
    this.#deps = deps;
    this.#address = address;
    this.#handlers = handlers;
    this.#debounceMs = debounceMs;
    if (debounceMs > 0) {
      this.#debouncer = new Debouncer({
        debounceMs,
        onEdge: (edge) => handlers.edges([edge]),
        monotonic: kernelMs,
      });
    }
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.failed = this.#keep();
    // Whoever waits hears of it.
    this.failed.catch(() => undefined);
  }

  get overruns(): number {
    return this.#overruns;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#sleep.abort();
    this.#debouncer?.close();
    await this.#tool?.end();
  }

  async #keep(): Promise<never> {
    const { version } = await this.#deps.tools();
    const line = await this.#deps.find(this.#address);
    while (!this.#isClosed) {
      const isOn = (await this.#deps.run(getCommand(version, line))).includes('1');
      if (this.#isClosed) break;
      if (this.#debouncer !== undefined) this.#debouncer.level = isOn;
      this.#last = undefined;
      this.#handlers.level?.(isOn);
      await this.#watch(line);
    }
    return new Promise<never>(() => undefined);
  }

  /** Resolves when the level has to be read anew. */
  async #untilStale(): Promise<void> {
    for (let seen = -1; seen !== this.#edges; ) {
      if (this.#isClosed) return;
      seen = this.#edges;
      this.#sleep = new AbortController();
      const waitMs = this.#isInDoubt ? quietMs : this.#deps.lookEveryMs;
      await this.#wait(waitMs, this.#sleep.signal).catch(() => {
        seen = -1;
      });
      if (this.#handlers.level === undefined) seen = -1;
    }
    if (this.#isInDoubt) this.#overruns += 1;
    this.#isInDoubt = false;
  }

  /** Until its level has to be read anew. Errors: GPIO_UNAVAILABLE. */
  async #watch(line: FoundLine): Promise<void> {
    const { environment: env, holdsLine, tools } = this.#deps;
    const { version, hasSetpriv } = await tools();
    const inKernel = debouncesItself(version) && this.#debounceMs > 0;
    const tool = new ToolProcess(watchCommand(version, line, this.#debounceMs), {
      env,
      hasSetpriv,
      onOutput: (chunk) => this.#take(chunk, inKernel),
      ...(holdsLine !== undefined && { holdsLine }),
    });
    this.#tool = tool;
    // A tool that ended says why, whatever is awaited.
    const ended = tool.ended.then((error) => Promise.reject(error));
    ended.catch(() => undefined);
    try {
      await Promise.race([tool.settled(), ended]);
      this.#resolveReady();
      await Promise.race([this.#untilStale(), ended]);
    } catch (error) {
      if (!this.#isClosed) throw error;
    } finally {
      await tool.end();
    }
  }

  #take(chunk: Buffer, inKernel: boolean): void {
    const texts = `${this.#rest}${chunk.toString('latin1')}`.split('\n');
    this.#rest = (texts.pop() ?? '').slice(-longestTextBytes);
    const now = kernelMs();
    const edges = texts.flatMap((text): readonly Edge[] => {
      const edge = parseEdge(text, now);
      return edge === undefined ? [] : [edge];
    });
    this.#edges += edges.length;
    this.#doubt(edges, now);
    if (this.#isClosed || edges.length === 0) return;
    if (this.#debouncer === undefined || inKernel) this.#handlers.edges(edges);
    else for (const edge of edges) this.#debouncer.take(edge);
  }

  #doubt(edges: readonly Edge[], now: number): void {
    if (now - this.#heardAt > quietMs) this.#burst = 0;
    this.#heardAt = now;
    this.#burst += edges.length;
    let isMissing = this.#burst >= manyEdges;
    for (const edge of edges) {
      // It cannot come on twice.
      if (edge.isOn === this.#last?.isOn) isMissing = true;
      this.#last = edge;
    }
    if (!isMissing || this.#isInDoubt) return;
    this.#isInDoubt = true;
    this.#sleep.abort();
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }
}

/** The clock that the kernel stamps edges with (CLOCK_MONOTONIC). */
const kernelMs = (): number => Number(process.hrtime.bigint()) / 1e6;
