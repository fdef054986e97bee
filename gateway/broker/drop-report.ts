/** Tells of drops once a second for each client and reason: under load there is one for every message, and a line each would be another load. */
import type { DropEvent } from './broker.js';

const everyMs = 1_000;

export class DropReport {
  readonly #tell: (event: DropEvent) => void;
  readonly #gathered = new Map<string, DropEvent>();
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (event: DropEvent) => void) {
    this.#tell = tell;
  }

  /** The first is told at once, what follows within the second together. */
  add(event: DropEvent): void {
    const key = `${event.reason} ${event.clientId}`;
    const before = this.#gathered.get(key);
    if (before === undefined) this.#tell(event);
    const { count, bytes } = before ?? { count: -event.count, bytes: -event.bytes };
    this.#gathered.set(key, { ...event, count: count + event.count, bytes: bytes + event.bytes });
    this.#timer ??= setTimeout(() => this.flush(), everyMs).unref();
  }

  /** Tells what was gathered. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const gathered = [...this.#gathered.values()];
    this.#gathered.clear();
    for (const event of gathered) if (event.count > 0) this.#tell(event);
  }
}
