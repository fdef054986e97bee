/** The last retained message of every topic, found by filter without walking all of them. */

export class RetainedIndex<T> {
  readonly #root = new Level<T>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(topic: string): T | undefined {
    return this.#find(topic)?.value;
  }

  /** Keeps `value` for the topic, or forgets it when undefined; the answer is what was kept before. */
  set(topic: string, value: T | undefined): T | undefined {
    if (value === undefined) return this.#delete(topic);
    let level = this.#root;
    for (const word of topic.split('/')) {
      let next = level.below.get(word);
      if (next === undefined) {
        next = new Level();
        level.below.set(word, next);
      }
      level = next;
    }
    const before = level.value;
    level.value = value;
    if (before === undefined) this.#size += 1;
    return before;
  }

  /** Everything a filter matches; messages may come and go while it is walked. */
  *matching(filter: string): Generator<T> {
    yield* below(this.#root, filter.split('/'), 0);
  }

  #find(topic: string): Level<T> | undefined {
    let level: Level<T> | undefined = this.#root;
    for (const word of topic.split('/')) level = level?.below.get(word);
    return level;
  }

  #delete(topic: string): T | undefined {
    const path: [Level<T>, string][] = [];
    let level = this.#root;
    for (const word of topic.split('/')) {
      const next = level.below.get(word);
      if (next === undefined) return undefined;
      path.push([level, word]);
      level = next;
    }
    const before = level.value;
    if (before === undefined) return undefined;
    level.value = undefined;
    this.#size -= 1;
    for (const [above, word] of path.reverse()) {
      const left = above.below.get(word);
      if (left === undefined || left.value !== undefined || left.below.size > 0) break;
      above.below.delete(word);
    }
    return before;
  }
}

class Level<T> {
  readonly below = new Map<string, Level<T>>();
  value: T | undefined;
}

function* below<T>(level: Level<T>, words: string[], at: number): Generator<T> {
  const word = words[at];
  if (word === undefined) {
    if (level.value !== undefined) yield level.value;
  } else if (word === '#') {
    yield* all(level, at);
  } else if (word === '+') {
    for (const [name, next] of level.below)
      if (!isHidden(name, at)) yield* below(next, words, at + 1);
  } else {
    const next = level.below.get(word);
    if (next !== undefined) yield* below(next, words, at + 1);
  }
}

/** The level itself (`a/#` matches `a`) and all beneath it. */
function* all<T>(level: Level<T>, at: number): Generator<T> {
  if (level.value !== undefined) yield level.value;
  for (const [name, next] of level.below) if (!isHidden(name, at)) yield* all(next, at + 1);
}

/** A leading wildcard matches nothing beneath `$` (3.1.1, 4.7.2). */
const isHidden = (name: string, at: number): boolean => at === 0 && name.startsWith('$');
