/** What a unit's registers held when they were last told, and so what there is to tell now. */
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { problemsLeaf, type Register } from './register-map.js';
import type { Read, RegisterValue } from './register-value.js';

export interface News {
  readonly series: readonly (readonly [name: string, value: RegisterValue])[];
  /** Of `reported`, that changed. */
  readonly leaves: JsonObject;
}

interface Told {
  readonly value: RegisterValue;
  readonly at: number;
}

export class UnitValues {
  readonly #sent = new Map<string, Told>();
  readonly #reported = new Map<string, RegisterValue>();
  readonly #problems = new Map<string, string>();

  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** What was read of some registers, at a monotonic time; what is news of it counts as told. */
  take(reads: readonly (readonly [Register, Read])[], now: number): News {
    const series: (readonly [string, RegisterValue])[] = [];
    const leaves = new Map<string, JsonValue>();
    const problems = new Map<string, JsonValue>();
    for (const [register, read] of reads) {
      const { name } = register;
      const problem = read.ok ? undefined : read.reason;
      if (this.#problems.get(name) !== problem) {
        problems.set(name, problem ?? null);
        if (problem === undefined) this.#problems.delete(name);
        else this.#problems.set(name, problem);
      }
      if (!read.ok) continue;
      if (register.telemetry && this.#isDue(register, read.value, now)) {
        series.push([name, read.value]);
        this.#sent.set(name, { value: read.value, at: now });
      }
      if ((register.writable || register.reported) && this.#isReportable(register, read.value)) {
        leaves.set(name, read.value);
        this.#reported.set(name, read.value);
      }
    }
    if (problems.size > 0) leaves.set(problemsLeaf, Object.fromEntries(problems));
    return { series, leaves: Object.fromEntries(leaves) };
  }

  /** It could not be told: what is read next is news again. */
  untold(name: string): void {
    this.#sent.delete(name);
    this.#reported.delete(name);
  }

  /** Whoever was told is gone. */
  forget(): void {
    this.#sent.clear();
    this.#reported.clear();
    this.#problems.clear();
  }

  #isDue({ name, deadBand, atLeastEveryS }: Register, value: RegisterValue, now: number): boolean {
    const last = this.#sent.get(name);
    if (last === undefined || isBeyond(last.value, value, deadBand)) return true;
    return atLeastEveryS > 0 && now - last.at >= atLeastEveryS * 1_000;
  }

  #isReportable({ name, deadBand, writable }: Register, value: RegisterValue): boolean {
    const last = this.#reported.get(name);
    return last === undefined || isBeyond(last, value, writable ? 0 : deadBand);
  }
}

const isBeyond = (before: RegisterValue, after: RegisterValue, deadBand: number): boolean =>
  typeof before === 'number' && typeof after === 'number'
    ? Math.abs(after - before) > deadBand
    : before !== after;
