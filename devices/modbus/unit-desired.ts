/** What is desired of a unit's registers and waits to be written, and what is not written, with the reason that people see. */
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { SerialHandlers } from '../serial/serial-driver.js';
import { type Register, type RegisterMap, refusedLeaf } from './register-map.js';
import { encode } from './register-value.js';
import type { WriteResult } from './register-write.js';
import type { Timers } from './timers.js';
import type { UnitTelling } from './unit-telling.js';

export interface UnitDesiredDeps {
  readonly handlers: Pick<SerialHandlers, 'desired'>;
  readonly timers: Timers;
  readonly telling: UnitTelling;
  readonly report: (leaves: JsonObject) => void;
}

interface Refusal {
  readonly reason: string;
  readonly value: JsonValue;
}

/** Nobody tells when something refused is not desired any more. */
const lookEveryMs = 60_000;

export class UnitDesired {
  readonly #deps: UnitDesiredDeps;
  readonly #mapName: string;
  readonly #registers: ReadonlyMap<string, Register>;
  readonly #wanted = new Map<string, JsonValue>();
  readonly #refused = new Map<string, Refusal>();
  #lookedAt = 0;

  constructor(deps: UnitDesiredDeps, map: Pick<RegisterMap, 'name' | 'registers'>) {
    this.#deps = deps;
    this.#mapName = map.name;
    this.#registers = new Map(map.registers.map((register) => [register.name, register]));
  }

  get isWaiting(): boolean {
    return this.#wanted.size > 0;
  }

  /** Why, by the names of registers. */
  get refusals(): JsonObject {
    return Object.fromEntries([...this.#refused].map(([name, { reason }]) => [name, reason]));
  }

  /** What is desired and not reported, whole. */
  want(state: JsonObject): void {
    for (const [name, value] of Object.entries(state)) {
      const reason = this.#whyNot(name, value);
      if (reason === undefined) this.#wanted.set(name, value);
      else this.#refuse(name, { reason, value });
    }
    for (const name of this.#wanted.keys()) {
      if (!Object.hasOwn(state, name)) this.#wanted.delete(name);
    }
    for (const name of this.#refused.keys()) if (!Object.hasOwn(state, name)) this.#allow(name);
  }

  /** The next to be written; it waits no more. */
  take(): readonly [Register, JsonValue] | undefined {
    for (const [name, value] of this.#wanted) {
      this.#wanted.delete(name);
      const register = this.#registers.get(name);
      if (register !== undefined) return [register, value];
    }
    return undefined;
  }

  /** What came of writing it; what failed is desired again if nobody thinks otherwise. */
  written({ name }: Register, value: JsonValue, result: WriteResult): void {
    if (result.type === 'written') this.#allow(name);
    else this.#refuse(name, { reason: result.reason, value });
  }

  /** From time to time: whether what is refused is still desired. */
  look(): void {
    const { timers, telling, handlers } = this.#deps;
    if (this.#refused.size === 0 || timers.now() - this.#lookedAt < lookEveryMs) return;
    this.#lookedAt = timers.now();
    const { stay } = telling;
    telling.tell(async () => {
      const { state } = await handlers.desired();
      if (stay !== telling.stay) return;
      for (const [name, { value }] of this.#refused) {
        if (JSON.stringify(state[name]) !== JSON.stringify(value)) this.#allow(name);
      }
    });
  }

  forget(): void {
    this.#wanted.clear();
    this.#refused.clear();
  }

  #whyNot(name: string, value: JsonValue): string | undefined {
    const register = this.#registers.get(name);
    if (register === undefined) return `${this.#mapName} has no register of this name`;
    if (!register.writable) return 'it is not writable';
    const encoded = encode(register, value);
    return encoded.ok ? undefined : encoded.reason;
  }

  #refuse(name: string, refusal: Refusal): void {
    const before = this.#refused.get(name);
    this.#refused.set(name, refusal);
    if (before?.reason === refusal.reason) return;
    this.#deps.report({ [refusedLeaf]: { [name]: refusal.reason } });
  }

  #allow(name: string): void {
    if (this.#refused.delete(name)) this.#deps.report({ [refusedLeaf]: { [name]: null } });
  }
}
