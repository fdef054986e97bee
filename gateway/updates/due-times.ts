/** What is due when: a binary heap by time. An entry whose time has moved on meanwhile comes out too early; whoever takes it looks again. */
export interface Due {
  /** Ms, of the one clock that all of them are by. */
  readonly at: number;
  readonly campaign: string;
  readonly device: string;
}

export class DueTimes {
  readonly #heap: Due[] = [];

  get nextAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  add(due: Due): void {
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
