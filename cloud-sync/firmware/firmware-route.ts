/** GET and HEAD of `/firmware/sha256/{sha256}`, for gateways: whole, or one range of it. Its digest is its entity tag: it never changes. */

import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { rangeOf } from '@holdfast/provisioning/transfer/byte-range';
import type { HttpsRoute } from '../api/https-server.js';
import type { BlobStore } from '../blobs/blob-store.js';

export interface FirmwareRouteOptions {
  /** A gateway that takes nothing for so long is cut; it resumes. */
  readonly stalledAfterMs?: number;
}

export const firmwareRoute = (
  blobs: BlobStore,
  { stalledAfterMs = 60_000 }: FirmwareRouteOptions = {},
): HttpsRoute => ({
  method: 'GET',
  path: /^\/firmware\/sha256\/([0-9a-f]{64})$/,
  serve: async ({ request, groups: [sha256 = ''], signal }, response) => {
    const sizeBytes = await blobs.sizeOf(sha256);
    if (sizeBytes === undefined) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no image ${sha256}`);
    }
    const tag = `"${sha256}"`;
    const { range: asked, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
    response.setHeader('accept-ranges', 'bytes');
    response.setHeader('etag', tag);
    response.setHeader('cache-control', 'private, max-age=31536000, immutable');
    if (ifNoneMatch === tag) {
      response.writeHead(304).end();
      return;
    }
    const range = ifRange === undefined || ifRange === tag ? rangeOf(asked, sizeBytes) : undefined;
    if (range === 'unsatisfiable') {
      response.writeHead(416, { 'content-range': `bytes */${sizeBytes}` }).end();
      return;
    }
    const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('content-length', end - start + 1);
    if (range !== undefined) {
      response.setHeader('content-range', `bytes ${start}-${end}/${sizeBytes}`);
    }
    response.writeHead(range === undefined ? 200 : 206);
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.setTimeout(stalledAfterMs, () => response.destroy());
    try {
      await pipeline(blobs.read(sha256, { start, end }), response, { signal });
    } catch (error) {
      // A gateway that went away, or was cut, comes again for the rest.
      if (!response.destroyed || !isBroken(error)) throw error;
    }
  },
});

const isBroken = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'AbortError' || ('code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'));
