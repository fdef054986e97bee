/**
 * The differences of two images as bsdiff sees them (Percival: "Naïve differences of executable code", 2003): pieces of the target that lie
 * alike in the source but for single bytes, as code does that was moved, and what is new between them.
 */
import type { DeltaControl } from './delta-format.js';
import type { LongestMatch } from './longest-match.js';

/** A control, and where in source and target it begins. */
export interface Difference extends DeltaControl {
  readonly sourceAt: number;
  readonly targetAt: number;
}

export interface DifferenceOptions {
  /** By how many bytes another place in the source has to be the better one before it is turned to: a control costs about that. */
  readonly turnBytes?: number;
}

/** Matches of this length are followed instead of looked for again at each byte: what repeats itself would take for ever. */
const followedBytes = 64;

export function* findDifferences(
  match: LongestMatch,
  { turnBytes = 8 }: DifferenceOptions = {},
): Generator<Difference> {
  const { source, target } = match;
  let scan = 0;
  let length = 0;
  let at = 0;
  /** Where the piece begins that is not yet told, and how far its place in the source is from it. */
  let targetAt = 0;
  let sourceAt = 0;
  let shift = 0;
  while (scan < target.length) {
    // How many bytes of the match the piece before would have right too, if it just went on.
    let alike = 0;
    scan += length;
    length = 0;
    for (let counted = scan; scan < target.length; scan += 1) {
      if (length > followedBytes) {
        length -= 1;
        at += 1;
      } else {
        match.find(scan);
        length = match.length;
        at = match.at;
      }
      for (; counted < scan + length; counted += 1) {
        const place = counted + shift;
        if (place < source.length && source[place] === target[counted]) alike += 1;
      }
      if ((length === alike && length !== 0) || length > alike + turnBytes) break;
      if (scan + shift < source.length && source[scan + shift] === target[scan] && counted > scan) {
        alike -= 1;
      }
      if (counted <= scan) counted = scan + 1;
    }
    if (length === alike && scan < target.length) continue;

    let forward = lengthForward(source, target, sourceAt, targetAt, scan);
    let backward = scan < target.length ? lengthBackward(source, target, at, scan, targetAt) : 0;
    const overlap = targetAt + forward - (scan - backward);
    if (overlap > 0) {
      const kept = bestSplit(
        source,
        target,
        targetAt + forward - overlap,
        sourceAt + forward - overlap,
        at - backward,
        overlap,
      );
      forward += kept - overlap;
      backward -= kept;
    }
    const extraBytes = scan - backward - (targetAt + forward);
    const seekBytes = at - backward - (sourceAt + forward);
    yield { diffBytes: forward, extraBytes, seekBytes, sourceAt, targetAt };
    targetAt = scan - backward;
    sourceAt = at - backward;
    shift = at - scan;
  }
}

/** How far a piece goes on from its beginning while more of its bytes are right than wrong. */
const lengthForward = (
  source: Uint8Array,
  target: Uint8Array,
  sourceAt: number,
  targetAt: number,
  until: number,
): number => {
  const most = Math.min(until - targetAt, source.length - sourceAt);
  let score = 0;
  let best = 0;
  let length = 0;
  for (let i = 0; i < most; ) {
    score += source[sourceAt + i] === target[targetAt + i] ? 1 : -1;
    i += 1;
    if (score > best) {
      best = score;
      length = i;
    }
  }
  return length;
};

/** The same from the beginning of the match that follows, backward. */
const lengthBackward = (
  source: Uint8Array,
  target: Uint8Array,
  sourceAt: number,
  targetAt: number,
  until: number,
): number => {
  const most = Math.min(targetAt - until, sourceAt);
  let score = 0;
  let best = 0;
  let length = 0;
  for (let i = 1; i <= most; i += 1) {
    score += source[sourceAt - i] === target[targetAt - i] ? 1 : -1;
    if (score > best) {
      best = score;
      length = i;
    }
  }
  return length;
};

/** Of bytes that both pieces claim, how many the first one keeps so that most are right. */
const bestSplit = (
  source: Uint8Array,
  target: Uint8Array,
  targetAt: number,
  firstAt: number,
  secondAt: number,
  overlap: number,
): number => {
  let score = 0;
  let best = 0;
  let kept = 0;
  for (let i = 0; i < overlap; i += 1) {
    const byte = target[targetAt + i];
    if (source[firstAt + i] === byte) score += 1;
    if (source[secondAt + i] === byte) score -= 1;
    if (score > best) {
      best = score;
      kept = i + 1;
    }
  }
  return kept;
};
