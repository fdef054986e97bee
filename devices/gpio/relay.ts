/** One relay: follows its leaf of the shadow, and goes to its safe state whenever nobody can be trusted to have it otherwise. */
import { wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { OutputLine } from './gpio-lines.js';
import type { IoDeps, IoLineState, IoPart } from './io-deps.js';
import { KeptLine } from './kept-line.js';
import type { RelayLine } from './line-settings.js';
import { decideRelay, type RelayState } from './relay-decision.js';

/** Timers take no more; it is asked again then. */
const longestMs = 2 ** 31 - 1;

export class Relay implements IoPart {
  readonly name: string;
  readonly #deps: IoDeps;
  readonly #line: RelayLine;
  readonly #kept: KeptLine;
  #state: RelayState = {
    ...{ wanted: null, hold: null, silentSince: null },
    ...{ isOn: null, changedAt: 0 },
  };
  #held: string | null = null;
  /** It was never set, or was set safe last. */
  #isLeftSafe = true;
  #sleep = new AbortController();

  constructor(deps: IoDeps, line: RelayLine) {
    this.name = line.name;
    this.#deps = deps;
    this.#line = line;
    this.#kept = new KeptLine(deps, line);
  }

  open(): void {
    this.#kept.keep((signal) => this.#drive(signal));
  }

  /** Leaves it safe. Idempotent. */
  async close(): Promise<void> {
    this.#kept.signal.addEventListener('abort', () => this.#sleep.abort());
    await this.#kept.close();
    // Whoever stops the service may have ended the tool that held its line before us.
    if (!this.#isLeftSafe) await this.#makeSafe();
  }

  /** What the shadow says; null for nothing. */
  want(wanted: boolean | null): void {
    this.#become({ wanted });
  }

  /** Keeps it safe for that reason, until null. */
  hold(hold: string | null): void {
    this.#become({ hold });
  }

  /** Whether whoever decides can be heard. */
  contact(isThere: boolean): void {
    if (isThere) this.#become({ silentSince: null });
    else if (this.#state.silentSince === null) {
      this.#become({ silentSince: this.#deps.monotonic() });
    }
  }

  get reported(): boolean | undefined {
    return this.#kept.problem === null ? (this.#state.isOn ?? undefined) : undefined;
  }

  get state(): IoLineState {
    const { isOn } = this.#state;
    const level = isOn === null ? 'not set yet' : isOn ? 'on' : 'off';
    return {
      name: this.name,
      role: 'relay',
      problem: this.#kept.problem,
      state: this.#held === null ? level : `${level} (safe: ${this.#held})`,
    };
  }

  #become(change: Partial<RelayState>): void {
    this.#state = { ...this.#state, ...change };
    this.#sleep.abort();
  }

  async #drive(signal: AbortSignal): Promise<void> {
    const { gpio, wait = waitFor } = this.#deps;
    let lost: Error | undefined;
    const line = gpio.output(this.#line, {
      leaveAt: this.#line.safe,
      onLost: (error) => {
        lost = error;
        this.#sleep.abort();
      },
    });
    try {
      for (;;) {
        this.#sleep = new AbortController();
        if (lost !== undefined) throw lost;
        const againInMs = await this.#follow(line);
        if (signal.aborted) break;
        await wait(Math.min(againInMs ?? longestMs, longestMs), this.#sleep.signal).catch(
          () => undefined,
        );
        if (signal.aborted) break;
      }
    } catch (error) {
      // Nobody knows what it is now; the next to have it begins with what is safe or wanted, at once.
      this.#state = { ...this.#state, isOn: null };
      throw error;
    } finally {
      if (signal.aborted) await this.#leaveSafe(line).catch(() => undefined);
      await line.close();
    }
  }

  async #leaveSafe(line: OutputLine): Promise<void> {
    const { safe } = this.#line;
    await line.set(safe);
    this.#state = { ...this.#state, isOn: safe };
    this.#isLeftSafe = true;
  }

  async #makeSafe(): Promise<void> {
    const line = this.#deps.gpio.output(this.#line);
    try {
      await this.#leaveSafe(line);
    } catch (error) {
      this.#kept.failed(error);
    } finally {
      await line.close();
    }
  }

  async #follow(line: OutputLine): Promise<number | null> {
    const { monotonic, changed } = this.#deps;
    const decided = decideRelay(this.#line, this.#state, monotonic());
    const isNews = decided.isOn !== this.#state.isOn || decided.held !== this.#held;
    if (decided.isOn !== this.#state.isOn) {
      this.#isLeftSafe = false;
      await line.set(decided.isOn);
      this.#state = { ...this.#state, isOn: decided.isOn, changedAt: monotonic() };
    }
    this.#held = decided.held;
    this.#kept.works();
    if (isNews) changed();
    return decided.againInMs;
  }
}
