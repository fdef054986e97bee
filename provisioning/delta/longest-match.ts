/** Where in a source the longest piece stands that a target has at a position. */
import { suffixArray } from './suffix-array.js';

export class LongestMatch {
  /** Of the match that was found last. */
  at = 0;
  length = 0;
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  readonly #sorted: Int32Array;
  /** Where the suffixes begin that begin with these two bytes: most of a search is over with it. */
  readonly #pairs = new Int32Array(65_537);

  constructor(source: Uint8Array, target: Uint8Array) {
    this.source = source;
    this.target = target;
    this.#sorted = suffixArray(source);
    const pairs = this.#pairs;
    for (let i = 0; i + 1 < source.length; i += 1) {
      const pair = ((source[i] as number) << 8) | (source[i + 1] as number);
      pairs[pair + 1] = (pairs[pair + 1] as number) + 1;
    }
    // The last byte alone is the first of the suffixes that begin with it, and of no pair: those after it stand one further.
    const last = source.length === 0 ? 0 : (source[source.length - 1] as number) << 8;
    for (let i = 0, sum = 0; i < pairs.length; i += 1) {
      sum += pairs[i] as number;
      pairs[i] = source.length > 0 && i >= last ? sum + 1 : sum;
    }
  }

  /** Sets `at` and `length` for what the target has from `from` on. Matches of less than two bytes count as none. */
  find(from: number): void {
    this.length = 0;
    this.at = 0;
    const target = this.target;
    if (from + 1 >= target.length) return;
    const pair = ((target[from] as number) << 8) | (target[from + 1] as number);
    let low = this.#pairs[pair] as number;
    let high = (this.#pairs[pair + 1] as number) - 1;
    // The suffix of the last byte alone stands at the end of the pair before: it is no match of two bytes.
    if (low > high) return;
    let lowLength = this.#common(low, from, 2);
    let highLength = low === high ? lowLength : this.#common(high, from, 2);
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const length = this.#common(middle, from, Math.min(lowLength, highLength));
      if (this.#isBelow(middle, from, length)) {
        low = middle;
        lowLength = length;
      } else {
        high = middle;
        highLength = length;
      }
    }
    const isLow = lowLength > highLength;
    this.length = isLow ? lowLength : highLength;
    this.at = this.#sorted[isLow ? low : high] as number;
  }

  /** How many bytes the suffix of this rank has in common with the target, of which `known` are known. */
  #common(rank: number, from: number, known: number): number {
    const source = this.source;
    const target = this.target;
    const at = this.#sorted[rank] as number;
    const most = Math.min(source.length - at, target.length - from);
    let length = Math.min(known, most);
    while (length < most && source[at + length] === target[from + length]) length += 1;
    return length;
  }

  #isBelow(rank: number, from: number, common: number): boolean {
    const at = (this.#sorted[rank] as number) + common;
    const to = from + common;
    if (at >= this.source.length) return true;
    if (to >= this.target.length) return false;
    return (this.source[at] as number) < (this.target[to] as number);
  }
}
