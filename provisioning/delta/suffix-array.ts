/**
 * The suffix array of a text by induced sorting (Nong, Zhang, Chan: "Linear Suffix Array Construction by Almost Pure Induced-Sorting",
 * 2009): linear in time whatever the text, and 4 bytes of memory a byte of it.
 */

type Text = Uint8Array | Int32Array;

const empty = -1;

/** The positions of all suffixes of the text in their order; a text of less than 2^31 bytes. */
export const suffixArray = (text: Uint8Array): Int32Array => {
  const sorted = new Int32Array(text.length);
  sort(text, 256, sorted);
  return sorted;
};

const sort = (text: Text, letters: number, sorted: Int32Array): void => {
  const length = text.length;
  if (length < 2) {
    sorted.fill(0);
    return;
  }
  const counts = new Int32Array(letters);
  for (let i = 0; i < length; i += 1)
    counts[text[i] as number] = (counts[text[i] as number] as number) + 1;
  const edge = new Int32Array(letters);

  // First the substrings between the leftmost S-suffixes ("LMS"), by inducing from any order of them.
  sorted.fill(empty);
  toEnds(counts, edge);
  eachLms(text, (at) => {
    const letter = text[at] as number;
    edge[letter] = (edge[letter] as number) - 1;
    sorted[edge[letter] as number] = at;
  });
  induce(text, counts, edge, sorted);
  const found = gatherLms(text, counts, edge, sorted);
  const names = nameLms(text, sorted, found);

  // Then the LMS-suffixes themselves: by their names where each is of its own, else by sorting the string of the names.
  const reduced = sorted.subarray(length - found);
  if (names < found) sort(reduced, names, sorted.subarray(0, found));
  else for (let i = 0; i < found; i += 1) sorted[reduced[i] as number] = i;
  let last = found;
  eachLms(text, (at) => {
    last -= 1;
    reduced[last] = at;
  });
  for (let i = 0; i < found; i += 1) sorted[i] = reduced[sorted[i] as number] as number;

  // From their order follows that of all.
  sorted.fill(empty, found);
  toEnds(counts, edge);
  for (let i = found - 1; i >= 0; i -= 1) {
    const at = sorted[i] as number;
    sorted[i] = empty;
    const letter = text[at] as number;
    edge[letter] = (edge[letter] as number) - 1;
    sorted[edge[letter] as number] = at;
  }
  induce(text, counts, edge, sorted);
};

/** Calls with each position whose suffix is smaller than the next one's while the one before is larger, from the right to the left. */
const eachLms = (text: Text, call: (at: number) => void): void => {
  let isSmaller = false;
  for (let i = text.length - 2; i >= 0; i -= 1) {
    const here = text[i] as number;
    const next = text[i + 1] as number;
    if (here < next) isSmaller = true;
    else if (here > next) {
      if (isSmaller) call(i + 1);
      isSmaller = false;
    }
  }
};

/** Sorts the L-suffixes after those that stand at the ends of their buckets, then the S-suffixes after the L-suffixes. */
const induce = (text: Text, counts: Int32Array, edge: Int32Array, sorted: Int32Array): void => {
  const length = text.length;
  toStarts(counts, edge);
  let letter = text[length - 1] as number;
  sorted[edge[letter] as number] = length - 1;
  edge[letter] = (edge[letter] as number) + 1;
  for (let i = 0; i < length; i += 1) {
    const at = (sorted[i] as number) - 1;
    if (at < 0) continue;
    letter = text[at] as number;
    if (letter < (text[at + 1] as number)) continue;
    const place = edge[letter] as number;
    edge[letter] = place + 1;
    sorted[place] = at;
  }
  toEnds(counts, edge);
  for (let i = length - 1; i >= 0; i -= 1) {
    const at = (sorted[i] as number) - 1;
    if (at < 0) continue;
    letter = text[at] as number;
    const next = text[at + 1] as number;
    // Within one bucket S-suffixes stand after the L-suffixes: from `edge` on.
    if (letter > next || (letter === next && i < (edge[letter] as number))) continue;
    const place = (edge[letter] as number) - 1;
    edge[letter] = place;
    sorted[place] = at;
  }
};

/** Moves the LMS-suffixes to the front, in their order; their number. `edge` holds where the S-suffixes of each bucket begin. */
const gatherLms = (
  text: Text,
  counts: Int32Array,
  edge: Int32Array,
  sorted: Int32Array,
): number => {
  let found = 0;
  let end = 0;
  for (let letter = 0; letter < counts.length; letter += 1) {
    end += counts[letter] as number;
    for (let i = edge[letter] as number; i < end; i += 1) {
      const at = sorted[i] as number;
      if (at === 0 || (text[at - 1] as number) <= letter) continue;
      sorted[found] = at;
      found += 1;
    }
  }
  return found;
};

/** Names the LMS-substrings by their order, equal ones alike, and leaves the names at the end, in the order of the text; their number. */
const nameLms = (text: Text, sorted: Int32Array, found: number): number => {
  const length = text.length;
  // LMS positions are two apart at least, so that half a place is enough for each.
  sorted.fill(empty, found);
  let next = length;
  eachLms(text, (at) => {
    sorted[found + (at >> 1)] = next - at;
    next = at;
  });
  let names = 0;
  let previous = -1;
  let previousLength = -1;
  for (let i = 0; i < found; i += 1) {
    const at = sorted[i] as number;
    const place = found + (at >> 1);
    const span = sorted[place] as number;
    if (!isSame(text, at, span, previous, previousLength)) {
      names += 1;
      previous = at;
      previousLength = span;
    }
    sorted[place] = names - 1;
  }
  let to = length;
  for (let i = Math.min(length, found + (length >> 1) + 1) - 1; i >= found; i -= 1) {
    const name = sorted[i] as number;
    if (name === empty) continue;
    to -= 1;
    sorted[to] = name;
  }
  return names;
};

/** Up to and with the first letter of the next one; the last one ends with the text, and is like no other. */
const isSame = (text: Text, a: number, aLength: number, b: number, bLength: number): boolean => {
  if (aLength !== bLength || a + aLength >= text.length || b + bLength >= text.length) return false;
  for (let i = 0; i <= aLength; i += 1) if (text[a + i] !== text[b + i]) return false;
  return true;
};

const toStarts = (counts: Int32Array, edge: Int32Array): void => {
  let sum = 0;
  for (let i = 0; i < counts.length; i += 1) {
    edge[i] = sum;
    sum += counts[i] as number;
  }
};

const toEnds = (counts: Int32Array, edge: Int32Array): void => {
  let sum = 0;
  for (let i = 0; i < counts.length; i += 1) {
    sum += counts[i] as number;
    edge[i] = sum;
  }
};
