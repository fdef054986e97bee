/** Which block of a unit is to be read when: each at its own pace, rarer while it fails, in smaller parts where the unit refuses it. */
import { type ReadBlock, splitBlock } from './read-block.js';

export interface PolledBlock {
  readonly block: ReadBlock;
  nextAt: number;
  /** In a row. */
  failures: number;
  /** How often the unit had answered by the first of them. */
  failedAt: number;
}

/** A block that fails is read no rarer than this, or at its own pace. */
const rarestMs = 60_000;

export class UnitPolling {
  #blocks: readonly PolledBlock[];

  constructor(blocks: readonly ReadBlock[]) {
    this.#blocks = blocks.map((block) => ({ block, nextAt: 0, failures: 0, failedAt: 0 }));
  }

  get blocks(): readonly ReadBlock[] {
    return this.#blocks.map(({ block }) => block);
  }

  /** When the first is due. */
  get dueAt(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { nextAt } of this.#blocks) if (nextAt < first) first = nextAt;
    return first;
  }

  /** What to read, the longest due first; those that fail after all others. */
  inOrder(now: number): readonly PolledBlock[] {
    const due = this.#blocks.filter(({ nextAt }) => nextAt <= now);
    const chosen = due.length > 0 ? due : [...this.#blocks];
    return chosen.sort((a, b) => a.failures - b.failures || a.nextAt - b.nextAt);
  }

  /** Everything at once: the unit is back. */
  begin(now: number): void {
    for (const one of this.#blocks) {
      one.nextAt = now;
      one.failures = 0;
    }
  }

  answered(polled: PolledBlock, now: number): void {
    polled.failures = 0;
    // One that could not be kept up with is simply due: then the blocks take turns.
    polled.nextAt = Math.max(polled.nextAt + polled.block.pollMs, now);
  }

  /** The unit said nothing or no. */
  failed(polled: PolledBlock, now: number, answers: number): void {
    if (polled.failures === 0) polled.failedAt = answers;
    polled.failures += 1;
    const { pollMs } = polled.block;
    const rarer = Math.min(pollMs * 2 ** Math.min(polled.failures - 1, 20), rarestMs);
    polled.nextAt = now + Math.max(pollMs, rarer);
  }

  /** Reads it in smaller parts from now on; false when it can't be smaller. */
  split(polled: PolledBlock, now: number): boolean {
    const parts = splitBlock(polled.block);
    if (parts === null) return false;
    this.#blocks = this.#blocks.flatMap((one) =>
      one === polled
        ? parts.map((block) => ({ block, nextAt: now, failures: 0, failedAt: 0 }))
        : [one],
    );
    return true;
  }
}
