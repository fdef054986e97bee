/**
 * What is due when: a binary heap by time. An execution has no entry later than its earliest one, so that one that changes often does not
 * fill it: when its time has moved on meanwhile it comes out too early, and whoever takes it looks again and adds it anew.
 */
export interface Due {
  /** Ms, of the one clock that all of them are by. */
  readonly at: number;
  readonly campaign: string;
  readonly device: string;
}

export class DueTimes {
  readonly #heap: Due[] = [];
  /** The earliest of each execution. */
  readonly #earliest = new Map<string, number>();

  get nextAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  get size(): number {
    return this.#heap.length;
  }

  add(due: Due): void {
    const key = keyOf(due);
    const known = this.#earliest.get(key);
    if (known !== undefined && known <= due.at) return;
    this.#earliest.set(key, due.at);
    const heap = this.#heap;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= due.at) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  /** Takes out everything that is due by then. */
  *take(now: number): Generator<Due> {
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      this.#removeFirst();
      const key = keyOf(first);
      // One that came before it was looked at already.
      if (this.#earliest.get(key) !== first.at) continue;
      this.#earliest.delete(key);
      yield first;
    }
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && right.at < left.at) child += 1;
      const smaller = heap[child];
      if (smaller === undefined || smaller.at >= last.at) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
  }
}

const keyOf = ({ campaign, device }: Due): string => `${campaign}/${device}`;
