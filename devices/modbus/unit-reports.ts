/** Tells what a unit's registers hold: as telemetry, as leaves of `reported`, or why there is no value. */
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { SerialHandlers } from '../serial/serial-driver.js';
import { problemsLeaf, type Register, refusedLeaf } from './register-map.js';
import type { Read, RegisterValue } from './register-value.js';
import type { Timers } from './timers.js';
import type { UnitTelling } from './unit-telling.js';
import { UnitValues } from './unit-values.js';

export interface UnitReportsDeps {
  readonly handlers: Pick<SerialHandlers, 'telemetry' | 'reported' | 'time'>;
  readonly timers: Timers;
  readonly telling: UnitTelling;
}

/** What the gateway has not committed yet, in blocks; more is not told, and read again later. */
const mostUntold = 16;

export class UnitReports {
  readonly #deps: UnitReportsDeps;
  readonly #values = new UnitValues();
  /** Something of `reported` could not be told. */
  #isStale = false;

  constructor(deps: UnitReportsDeps) {
    this.#deps = deps;
  }

  get problems(): ReadonlyMap<string, string> {
    return this.#values.problems;
  }

  /** Whether `all` is due, and can be told. */
  get wantsAll(): boolean {
    return this.#isStale && this.#deps.telling.untold === 0;
  }

  /** What was read of some registers. */
  take(reads: readonly (readonly [Register, Read])[]): void {
    const { handlers, timers, telling } = this.#deps;
    if (telling.untold >= mostUntold) return;
    const { series, leaves } = this.#values.take(reads, timers.now());
    // Of a time that nobody knows, whoever stores it makes the best.
    const { ts, trusted } = handlers.time();
    const point = (value: RegisterValue) => (trusted ? { value, ts } : { value });
    if (series.length > 0) {
      telling.tell(
        // Together, so that they share a commit.
        () => all(series.map(([name, value]) => handlers.telemetry(name, [point(value)]))),
        () => {
          for (const [name] of series) this.#values.untold(name);
        },
      );
    }
    if (Object.keys(leaves).length > 0) this.report(leaves);
  }

  report(leaves: JsonObject): void {
    this.#deps.telling.tell(
      () => this.#deps.handlers.reported(leaves),
      () => {
        this.#isStale = true;
      },
    );
  }

  /** All that is known, anew: for who hears of it first, or has missed some. */
  all(refused: JsonObject): void {
    this.forget();
    this.report({ [refusedLeaf]: null, [problemsLeaf]: null });
    if (Object.keys(refused).length > 0) this.report({ [refusedLeaf]: refused });
  }

  forget(): void {
    this.#isStale = false;
    this.#values.forget();
  }
}

/** After all of them, and with the first that failed. */
const all = async (work: readonly Promise<void>[]): Promise<void> => {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
};
