/** The parts of a file that an HTTP request asks for (RFC 9110, 14.1 and 14.2). */
export interface ByteRange {
  readonly start: number;
  /** The last byte, included. */
  readonly end: number;
}

/** More than any client asks for that means well: SWUpdate's delta handler sends up to 150. */
const maxRanges = 256;
/** From here on ranges that are not in order count as an attack (RFC 9110, 14.2 and 17.15). */
const manyRanges = 16;

/**
 * The ranges that can be had, as they were asked for; `unsatisfiable` when none can (416). Undefined for the whole: without the header,
 * with one that is malformed or of another unit, and with one that asks for more than the whole would be, or in a way that only an attack
 * does. So no answer is longer than the file by more than the heads of its parts.
 */
export const rangesOf = (
  header: string | undefined,
  sizeBytes: number,
): readonly ByteRange[] | 'unsatisfiable' | undefined => {
  const [, set] = /^bytes=(.*)$/is.exec(header?.trim() ?? '') ?? [];
  if (set === undefined) return undefined;
  const specs = set
    .split(',')
    .map((spec) => spec.trim())
    .filter(Boolean);
  if (specs.length === 0 || specs.length > maxRanges) return undefined;
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const range = rangeOf(spec, sizeBytes);
    if (range === undefined) return undefined;
    if (range !== 'unsatisfiable') ranges.push(range);
  }
  if (ranges.length === 0) return 'unsatisfiable';
  return isAbuse(ranges, sizeBytes) ? undefined : ranges;
};

/** Undefined when it is malformed. */
const rangeOf = (spec: string, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined => {
  const [match, first = '', last = ''] = /^(\d*)-(\d*)$/.exec(spec) ?? [];
  if (match === undefined || match === '-') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= sizeBytes) return 'unsatisfiable';
  return { start, end: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
};

const isAbuse = (ranges: readonly ByteRange[], sizeBytes: number): boolean => {
  if (ranges.length === 1) return false;
  let bytes = 0;
  let isInOrder = true;
  for (const [index, { start, end }] of ranges.entries()) {
    bytes += end - start + 1;
    if (start < (ranges[index - 1]?.start ?? 0)) isInOrder = false;
  }
  if (bytes > sizeBytes || (ranges.length > manyRanges && !isInOrder)) return true;
  let overlaps = 0;
  let reached = -1;
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    if (start <= reached) overlaps += 1;
    reached = Math.max(reached, end);
  }
  return overlaps > 1;
};
