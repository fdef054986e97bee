/** GET and HEAD of `/firmware/sha256/{sha256}`, for gateways: whole or ranges of it. Its digest is its entity tag: it never changes. */

import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { answerBytes, type ByteAnswer } from '@holdfast/provisioning/transfer/byte-answer';
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
    const { status, headers, pieces } = answerBytes(request, { tag: sha256, sizeBytes });
    response.writeHead(status, headers);
    response.setTimeout(stalledAfterMs, () => response.destroy());
    try {
      await pipeline(bodyOf(blobs, sha256, pieces), response, { signal });
    } catch (error) {
      // A gateway that went away, or was cut, comes again for the rest.
      if (!response.destroyed || !isBroken(error)) throw error;
    }
  },
});

async function* bodyOf(blobs: BlobStore, sha256: string, pieces: ByteAnswer['pieces']) {
  for (const piece of pieces) {
    if ('start' in piece) yield* blobs.read(sha256, piece);
    else yield piece;
  }
}

const isBroken = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'AbortError' || ('code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'));
