/**
 * Tells the parts of this process that something was committed, so that nobody polls. A signal carries no data and may be lost with
 * the process: who hears it reads the store, and everybody reads the store when starting.
 */

/**
 * `orders:{site}`, `plan:{site}`, `site:{site}` (its gateway has to be looked at again), `campaign:{campaign}`,
 * `shadow:{site}/{device}/{shadow}`.
 */
export type SignalTopic = `${'orders' | 'plan' | 'site' | 'campaign' | 'shadow'}:${string}`;

export class Signals {
  readonly #listeners = new Map<SignalTopic, Set<() => void>>();

  publish(topic: SignalTopic): void {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener();
  }

  /** Returns how to stop listening. A listener must not throw. */
  subscribe(topic: SignalTopic, listener: () => void): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(topic);
    };
  }
}
