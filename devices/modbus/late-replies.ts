/**
 * Which answers of a unit may still be on their way, on a wire where an answer does not say to which request. Pure but for its memory.
 *
 * A unit answers in order, so the answer to a request that looks like none of those says that they will not come any more. Until then
 * nothing is asked whose answer could be taken for one of them.
 */

import { type ReadRequest, readCodes } from './modbus-request.js';
import type { ReadBlock } from './read-block.js';
import { type RegisterKind, registerKinds } from './register-map.js';

type Read = Pick<ReadRequest, 'kind' | 'address' | 'count'>;

export interface LateRepliesOptions {
  /** After so long without a sign of it nothing comes any more. */
  readonly forgetAfterMs: number;
}

export class LateReplies {
  readonly #forgetAfterMs: number;
  readonly #missing = new Map<string, RegisterKind>();
  #since = Number.NEGATIVE_INFINITY;

  constructor({ forgetAfterMs }: LateRepliesOptions) {
    this.#forgetAfterMs = forgetAfterMs;
  }

  /** No answer came. */
  missed(read: Read, now: number): void {
    this.#missing.set(shapeOf(read), read.kind);
    this.#since = now;
  }

  /** Registers came, or an exception. */
  answered(read: Read, isException: boolean): void {
    // All exceptions to a function look alike.
    const couldBeLate = isException
      ? [...this.#missing.values()].includes(read.kind)
      : this.#missing.has(shapeOf(read));
    if (!couldBeLate) this.#missing.clear();
  }

  isConfusable(read: Read, now: number): boolean {
    this.#forget(now);
    return this.#missing.has(shapeOf(read));
  }

  /** Nothing may be on its way. */
  isSettled(now: number): boolean {
    this.#forget(now);
    return this.#missing.size === 0;
  }

  /** When everything is forgotten. */
  get settlesAt(): number {
    return this.#since + this.#forgetAfterMs;
  }

  /** What to ask instead: of the same registers more or less at a time, at last another function, which any unit at least refuses. */
  settling(blocks: readonly ReadBlock[], now: number): Read | null {
    const ofMap = blocks.flatMap(({ kind, address, count }): Read[] => [
      { kind, address, count },
      { kind, address, count: 1 },
    ]);
    const found = ofMap.find((read) => !this.isConfusable(read, now));
    if (found !== undefined) return found;
    const address = blocks[0]?.address ?? 0;
    const kinds = new Set(this.#missing.values());
    const other = registerKinds.find((kind) => !kinds.has(kind));
    return other === undefined ? null : { kind: other, address, count: 1 };
  }

  #forget(now: number): void {
    if (now >= this.settlesAt) this.#missing.clear();
  }
}

/** How many bytes an answer has, and of which function. */
const shapeOf = ({ kind, count }: Read): string => {
  const bytes = kind === 'coil' || kind === 'discrete' ? Math.ceil(count / 8) : count * 2;
  return `${readCodes[kind]} ${bytes}`;
};
