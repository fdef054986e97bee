/** Answers GET and HEAD for an image: whole, or one range of it (RFC 9110, 14). Its digest is its entity tag: it never changes. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { rangeOf } from '@holdfast/provisioning/transfer/byte-range';
import type { ChunkCache } from './chunk-cache.js';
import type { HeldImage } from './held-images.js';

/** A client that takes nothing for so long is cut, ms. */
const stalledAfterMs = 60_000;

/**
 * Resolves when the response is over, whole or not: a client that goes away is no error. Rejects when the image cannot be read, before
 * or after the head was sent.
 */
export const sendFirmware = async (
  request: IncomingMessage,
  response: ServerResponse,
  image: HeldImage,
  chunks: ChunkCache,
): Promise<void> => {
  const { sha256, path, sizeBytes } = image;
  const tag = `"${sha256}"`;
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('etag', tag);
  response.setHeader('cache-control', 'private, max-age=31536000, immutable');
  const { range: rangeHeader, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
  if (ifNoneMatch === tag) {
    response.writeHead(304).end();
    return;
  }
  const range =
    ifRange === undefined || ifRange === tag ? rangeOf(rangeHeader, sizeBytes) : undefined;
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${sizeBytes}` }).end();
    return;
  }
  const { start: from, end: to } = range ?? { start: 0, end: sizeBytes - 1 };
  response.setHeader('content-type', 'application/octet-stream');
  response.setHeader('content-length', to - from + 1);
  if (range !== undefined) response.setHeader('content-range', `bytes ${from}-${to}/${sizeBytes}`);
  response.writeHead(range === undefined ? 200 : 206);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  response.on('error', () => undefined);
  response.setTimeout(stalledAfterMs, () => response.destroy());
  const { chunkBytes } = chunks;
  for (let at = from; at <= to; ) {
    const index = Math.floor(at / chunkBytes);
    const chunk = await chunks.read(image, index);
    const start = at - index * chunkBytes;
    const part = chunk.subarray(start, Math.min(chunk.length, to - index * chunkBytes + 1));
    if (part.length === 0) throw new Error(`${path} is shorter than it was`);
    if (response.destroyed) return;
    at += part.length;
    if (!response.write(part)) await drained(response);
  }
  response.end();
};

/** Also when the connection ends: then the next look at `destroyed` ends the loop. */
const drained = async (response: ServerResponse): Promise<void> => {
  const end = new AbortController();
  const options = { signal: end.signal };
  try {
    await Promise.race([once(response, 'drain', options), once(response, 'close', options)]);
  } catch {
    // The connection failed, which `destroyed` says too.
  } finally {
    end.abort();
  }
};
