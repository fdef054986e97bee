/** The inputs, relays and counters of one machine, as one part of a program: a gateway's own, or an agent's. */
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { IoDeps, IoLineState, IoPart } from './io-deps.js';
import { type IoLine, problemsKey } from './line-settings.js';
import { PulseCounter } from './pulse-counter.js';
import { Relay } from './relay.js';
import { SensedInput } from './sensed-input.js';

export class IoLines {
  readonly #parts: readonly IoPart[];
  readonly #relays: readonly Relay[];
  /** Leaves that are neither true nor false. */
  readonly #refused = new Map<string, string>();
  readonly #deps: IoDeps;

  constructor(deps: IoDeps, { lines }: { readonly lines: readonly IoLine[] }) {
    this.#deps = deps;
    this.#parts = lines.map((line) => partOf(deps, line));
    this.#relays = this.#parts.filter((part) => part instanceof Relay);
  }

  /** Every relay goes to its safe state, until the shadow says something. */
  open(): void {
    for (const part of this.#parts) part.open();
  }

  /** Every relay goes to its safe state, and every total is kept. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }

  /** All that is desired: true is on, false is off, and what is not said is safe. */
  desire(desired: JsonValue | undefined): void {
    const leaves = isJsonObject(desired) ? desired : {};
    const before = this.#refused.size;
    this.#refused.clear();
    for (const relay of this.#relays) {
      const wanted = Object.hasOwn(leaves, relay.name) ? leaves[relay.name] : undefined;
      if (wanted !== undefined && typeof wanted !== 'boolean') {
        this.#refused.set(relay.name, 'a relay is desired true or false');
      }
      relay.want(typeof wanted === 'boolean' ? wanted : null);
    }
    if (before + this.#refused.size > 0) this.#deps.changed();
  }

  /** Keeps every relay safe for that reason, until null. */
  hold(reason: string | null): void {
    for (const relay of this.#relays) relay.hold(reason);
  }

  /** Whether whoever decides can be heard; without them relays go safe after their time. */
  contact(isThere: boolean): void {
    for (const relay of this.#relays) relay.contact(isThere);
  }

  /** What is true of the lines now. */
  get reported(): JsonObject {
    const entries: [string, JsonValue][] = [];
    const problems: [string, JsonValue][] = [];
    for (const { name, reported, state } of this.#parts) {
      if (reported !== undefined) entries.push([name, reported]);
      const problem = state.problem ?? this.#refused.get(name);
      if (problem !== undefined) problems.push([name, problem]);
    }
    return {
      ...Object.fromEntries(entries),
      ...(problems.length > 0 && { [problemsKey]: Object.fromEntries(problems) }),
    };
  }

  states(): IoLineState[] {
    return this.#parts.map(({ state }) => state);
  }
}

const partOf = (deps: IoDeps, line: IoLine): IoPart => {
  switch (line.role) {
    case 'relay':
      return new Relay(deps, line);
    case 'input':
      return new SensedInput(deps, line);
    case 'counter':
      return new PulseCounter(deps, line);
  }
};
