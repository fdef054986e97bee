/** Numbers that stand for topics on one connection, in either direction (MQTT 5, 3.3.2.3.4). */
import { longestTopic } from '../../trust/authorise.js';

/** Those of the client. */
export class InboundAliases {
  readonly #most: number;
  readonly #topics = new Map<number, string>();

  constructor(most: number) {
    this.#most = most;
  }

  /** The topic meant; undefined when the alias is out of range or stands for nothing yet. */
  resolve(topic: string, alias: number): string | undefined {
    if (alias === 0 || alias > this.#most) return undefined;
    if (topic === '') return this.#topics.get(alias);
    // One that is too long is refused, and would only be held.
    if (topic.length <= longestTopic) this.#topics.set(alias, topic);
    else this.#topics.delete(alias);
    return topic;
  }
}

/** Ours: the first topics get one each, and keep it. */
export class OutboundAliases {
  readonly #most: number;
  readonly #aliases = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** The alias of a topic; `isKnown`: the client knows it, so that the topic itself need not be said. */
  of(topic: string): { readonly alias: number; readonly isKnown: boolean } | undefined {
    const known = this.#aliases.get(topic);
    if (known !== undefined) return { alias: known, isKnown: true };
    const alias = this.#aliases.size + 1;
    return alias > this.#most ? undefined : { alias, isKnown: false };
  }

  /** The client has been told. */
  told(topic: string, alias: number): void {
    this.#aliases.set(topic, alias);
  }
}
