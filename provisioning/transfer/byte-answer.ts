/**
 * How a GET or HEAD for a file that never changes is answered (RFC 9110, 13 to 15): whole, one range, several, or not at all. Both ends
 * serve firmware by it. Nothing of the answer depends on anything but the request and the file.
 */
import { randomBytes } from 'node:crypto';
import { type ByteRange, rangesOf } from './byte-ranges.js';

export interface ByteRequest {
  readonly method?: string | undefined;
  readonly headers: {
    readonly range?: string | undefined;
    readonly 'if-match'?: string | undefined;
    readonly 'if-none-match'?: string | undefined;
    readonly 'if-range'?: string | undefined;
  };
}

export interface ServedFile {
  readonly sizeBytes: number;
  /** Of its entity tag, without the quotes: a digest of it. */
  readonly tag: string;
  readonly contentType?: string;
  /** Between the parts of a multipart answer; by default drawn for each. SWUpdate reads it only in lower case. */
  readonly boundary?: string;
}

export interface ByteAnswer {
  readonly status: 200 | 206 | 304 | 412 | 416;
  readonly headers: Readonly<Record<string, string | number>>;
  /** What to send, in this order: bytes as they are, and ranges of the file. */
  readonly pieces: readonly (Uint8Array | ByteRange)[];
}

export const answerBytes = ({ method, headers }: ByteRequest, file: ServedFile): ByteAnswer => {
  const { sizeBytes, tag, contentType = 'application/octet-stream' } = file;
  const etag = `"${tag}"`;
  const common = {
    'accept-ranges': 'bytes',
    etag,
    'cache-control': 'private, max-age=31536000, immutable',
  };
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch, 'if-range': ifRange } = headers;
  if (ifMatch !== undefined && !names(ifMatch, etag)) {
    return { status: 412, headers: { ...common, 'content-length': 0 }, pieces: [] };
  }
  if (ifNoneMatch !== undefined && names(ifNoneMatch.replaceAll('W/', ''), etag)) {
    return { status: 304, headers: common, pieces: [] };
  }
  // Ranges are for GET alone; a date in If-Range names no version, since the file has none.
  const isRanged = method !== 'HEAD' && (ifRange === undefined || ifRange.trim() === etag);
  const ranges = isRanged ? rangesOf(headers.range, sizeBytes) : undefined;
  if (ranges === 'unsatisfiable') {
    const refusal = { ...common, 'content-range': `bytes */${sizeBytes}`, 'content-length': 0 };
    return { status: 416, headers: refusal, pieces: [] };
  }
  if (ranges !== undefined && ranges.length > 1) {
    const boundary = file.boundary ?? randomBytes(16).toString('hex');
    const pieces = multipartOf(ranges, { sizeBytes, contentType, boundary });
    const type = `multipart/byteranges; boundary=${boundary}`;
    return {
      status: 206,
      headers: { ...common, 'content-type': type, 'content-length': lengthOf(pieces) },
      pieces,
    };
  }
  const [range] = ranges ?? [];
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...common,
      'content-type': contentType,
      'content-length': end - start + 1,
      ...(range && { 'content-range': `bytes ${start}-${end}/${sizeBytes}` }),
    },
    pieces: method === 'HEAD' || sizeBytes === 0 ? [] : [{ start, end }],
  };
};

/** Whether a list of entity tags names this one, byte for byte. */
const names = (list: string, etag: string): boolean =>
  list.trim() === '*' || [...list.matchAll(/(?:W\/)?"[^"]*"/g)].some(([tag]) => tag === etag);

const multipartOf = (
  ranges: readonly ByteRange[],
  {
    sizeBytes,
    contentType,
    boundary,
  }: { readonly sizeBytes: number; readonly contentType: string; readonly boundary: string },
): (Uint8Array | ByteRange)[] => [
  ...ranges.flatMap((range) => {
    const { start, end } = range;
    const head = `\r\n--${boundary}\r\nContent-Type: ${contentType}\r\nContent-Range: bytes ${start}-${end}/${sizeBytes}\r\n\r\n`;
    return [Buffer.from(head, 'latin1'), range];
  }),
  Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1'),
];

const lengthOf = (pieces: ByteAnswer['pieces']): number => {
  let bytes = 0;
  for (const piece of pieces) {
    bytes += 'start' in piece ? piece.end - piece.start + 1 : piece.length;
  }
  return bytes;
};
