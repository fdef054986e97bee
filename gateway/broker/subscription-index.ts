/** Which sessions a topic goes to: a tree of filters by level, and a bounded cache of what topics matched. */

export interface Subscription {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  /** The client does not want what it published itself. */
  readonly noLocal?: boolean;
  /** The retain flag stays as it was published. */
  readonly retainAsPublished?: boolean;
  /** Comes back with every message that matches. */
  readonly identifier?: number;
}

/** One session a message goes to, once, with the highest QoS of all its filters that match (3.1.1, 3.3.5). */
export interface Subscriber<S> {
  readonly session: S;
  readonly qos: 0 | 1 | 2;
  /** For what the session's own client published: undefined when it wants none of it. */
  readonly ownQos: 0 | 1 | 2 | undefined;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
}

const maxCachedTopics = 20_000;

export class SubscriptionIndex<S, T extends Subscription = Subscription> {
  readonly #root = new Level<S, T>();
  readonly #cache = new Map<string, readonly Subscriber<S>[]>();

  /** Adds or replaces the session's subscription to this filter. */
  add(session: S, subscription: T): void {
    let level = this.#root;
    for (const word of subscription.filter.split('/')) {
      let next = level.below.get(word);
      if (next === undefined) {
        next = new Level();
        level.below.set(word, next);
      }
      level = next;
    }
    level.subscriptions.set(session, subscription);
    this.#cache.clear();
  }

  remove(session: S, filter: string): void {
    const path: [Level<S, T>, string][] = [];
    let level = this.#root;
    for (const word of filter.split('/')) {
      const next = level.below.get(word);
      if (next === undefined) return;
      path.push([level, word]);
      level = next;
    }
    level.subscriptions.delete(session);
    for (const [above, word] of path.reverse()) {
      if (above.below.get(word)?.isEmpty !== true) break;
      above.below.delete(word);
    }
    this.#cache.clear();
  }

  /** Every session with a filter that matches, each once. */
  subscribersOf(topic: string): readonly Subscriber<S>[] {
    const known = this.#cache.get(topic);
    if (known !== undefined) return known;
    const bySession = new Map<S, T[]>();
    for (const [session, subscription] of this.matches(topic)) {
      const others = bySession.get(session);
      if (others === undefined) bySession.set(session, [subscription]);
      else others.push(subscription);
    }
    const subscribers = [...bySession].map(([session, each]) => subscriberOf(session, each));
    if (this.#cache.size >= maxCachedTopics) this.#cache.clear();
    this.#cache.set(topic, subscribers);
    return subscribers;
  }

  /** Every subscription that matches; a session with two overlapping filters comes twice. */
  *matches(topic: string): Generator<[S, T]> {
    yield* below(this.#root, topic.split('/'), 0);
  }
}

/** A session by all of its subscriptions that match. */
export const subscriberOf = <S>(session: S, each: readonly Subscription[]): Subscriber<S> => ({
  session,
  qos: highest(each) ?? 0,
  ownQos: highest(each.filter(({ noLocal }) => noLocal !== true)),
  retainAsPublished: each.some(({ retainAsPublished }) => retainAsPublished === true),
  identifiers: each.flatMap(({ identifier }) => (identifier === undefined ? [] : [identifier])),
});

const highest = (each: readonly Subscription[]): 0 | 1 | 2 | undefined => {
  let most: 0 | 1 | 2 | undefined;
  for (const { qos } of each) if (most === undefined || qos > most) most = qos;
  return most;
};

class Level<S, T> {
  readonly below = new Map<string, Level<S, T>>();
  readonly subscriptions = new Map<S, T>();

  get isEmpty(): boolean {
    return this.below.size === 0 && this.subscriptions.size === 0;
  }
}

function* below<S, T>(level: Level<S, T>, words: string[], at: number): Generator<[S, T]> {
  const word = words[at];
  // A leading wildcard matches nothing beneath `$` (3.1.1, 4.7.2).
  const isReserved = at === 0 && word?.startsWith('$') === true;
  const rest = isReserved ? undefined : level.below.get('#');
  if (rest !== undefined) yield* rest.subscriptions;
  if (word === undefined) {
    yield* level.subscriptions;
    return;
  }
  const one = isReserved ? undefined : level.below.get('+');
  if (one !== undefined) yield* below(one, words, at + 1);
  const exact = level.below.get(word);
  if (exact !== undefined) yield* below(exact, words, at + 1);
}
