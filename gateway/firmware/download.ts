/**
 * Downloads one file into a partial file beside its place, goes on where a break left it, and gives it its name when its digest is
 * right: what has the name is whole.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import axios, { isAxiosError } from 'axios';

export interface DownloadRequest {
  readonly url: string;
  readonly agent: Agent;
  /** Where the whole file goes. */
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Where a file whose digest is wrong is put aside. */
  readonly quarantine: string;
  /** Without a byte for so long, the connection counts as broken, ms. */
  readonly idleTimeoutMs?: number;
  readonly signal: AbortSignal;
}

const partialSuffix = '.part';

/**
 * Resolves when the file is on disk under its name. CONNECTION_FAILED and DEADLINE_EXCEEDED: call again, it goes on from there;
 * UPDATE_DIGEST_MISMATCH: what came is not what was promised, and is put aside.
 */
export const download = async (request: DownloadRequest): Promise<void> => {
  const { path, sha256, sizeBytes } = request;
  const partial = `${path}${partialSuffix}`;
  const file = await open(partial, 'a+', 0o644);
  try {
    const held = await hashHeld(file, sizeBytes);
    if (held.bytes < sizeBytes) await receive(request, file, held);
    await file.sync();
    if (held.hash.digest('hex') !== sha256) {
      await putAside(request, partial);
      throw new HoldfastError(
        'UPDATE_DIGEST_MISMATCH',
        `what ${request.url} gives is not ${sha256}`,
      );
    }
  } finally {
    await file.close();
  }
  await rename(partial, path);
  await syncFolder(dirname(path));
};

/** What was received so far, and its digest. */
interface Held {
  bytes: number;
  hash: Hash;
}

/** The digest of what an earlier attempt left; a file that is too long is none of ours. */
const hashHeld = async (file: FileHandle, sizeBytes: number): Promise<Held> => {
  const held: Held = { bytes: 0, hash: createHash('sha256') };
  const { size } = await file.stat();
  if (size > sizeBytes) await file.truncate(0);
  else {
    const buffer = Buffer.allocUnsafe(256 * 1024);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, held.bytes);
      if (bytesRead === 0) break;
      held.hash.update(buffer.subarray(0, bytesRead));
      held.bytes += bytesRead;
    }
  }
  return held;
};

const receive = async (request: DownloadRequest, file: FileHandle, held: Held): Promise<void> => {
  const { sizeBytes, signal, idleTimeoutMs = 30_000 } = request;
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(), idleTimeoutMs);
  const aborted = AbortSignal.any([signal, idle.signal]);
  try {
    const { status, headers, data } = await ask(request, held.bytes, aborted);
    // A body that is read after its socket died says so with 'error', which nobody may be listening for yet.
    data.on('error', () => undefined);
    const isContinued = status === 206 && isRangeFrom(headers['content-range'], held.bytes);
    if (!isContinued) {
      // The server does not continue: what it sends now is the whole.
      await file.truncate(0);
      held.bytes = 0;
      held.hash = createHash('sha256');
      if (status !== 200) {
        data.destroy();
        throw new HoldfastError('CONNECTION_FAILED', `${request.url} answers ${status}`);
      }
    }
    for await (const chunk of data.iterator({ destroyOnReturn: true })) {
      timer.refresh();
      const bytes = chunk as Buffer;
      if (held.bytes + bytes.length > sizeBytes) {
        await file.truncate(0);
        throw new HoldfastError(
          'UPDATE_DIGEST_MISMATCH',
          `${request.url} gives more than ${sizeBytes} bytes`,
        );
      }
      await file.appendFile(bytes);
      held.hash.update(bytes);
      held.bytes += bytes.length;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (idle.signal.aborted) {
      throw new HoldfastError('DEADLINE_EXCEEDED', `${request.url} has gone silent`, {
        cause: error,
      });
    }
    throw asFailure(request.url, error);
  } finally {
    clearTimeout(timer);
  }
  if (held.bytes < sizeBytes) {
    throw new HoldfastError('CONNECTION_FAILED', `${request.url} ended after ${held.bytes} bytes`);
  }
};

const ask = ({ url, agent, sha256 }: DownloadRequest, from: number, signal: AbortSignal) =>
  axios.get<Readable>(url, {
    responseType: 'stream',
    httpsAgent: agent,
    proxy: false,
    // A redirect would lead out of what the agent verifies.
    maxRedirects: 0,
    decompress: false,
    headers: {
      'accept-encoding': 'identity',
      ...(from > 0 ? { range: `bytes=${from}-`, 'if-range': `"${sha256}"` } : {}),
    },
    validateStatus: (status) => status === 200 || status === 206 || status === 416,
    signal,
  });

const isRangeFrom = (header: unknown, from: number): boolean =>
  typeof header === 'string' && header.startsWith(`bytes ${from}-`);

const asFailure = (url: string, error: unknown): HoldfastError => {
  if (error instanceof HoldfastError) return error;
  // Of the file system's errors only a full disk has a name of its own here; the others are reported as they are.
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC')
    return new HoldfastError('STORE_FULL', 'no room for the firmware', { cause: error });
  const status = isAxiosError(error) ? error.response?.status : undefined;
  const text = error instanceof Error ? error.message : String(error);
  return new HoldfastError('CONNECTION_FAILED', `${url}: ${status ?? text}`, { cause: error });
};

/** The last one is kept, for whoever wants to know what came instead. */
const putAside = async (
  { quarantine, sha256 }: DownloadRequest,
  partial: string,
): Promise<void> => {
  await rm(quarantine, { recursive: true, force: true });
  await mkdir(quarantine, { recursive: true });
  await rename(partial, join(quarantine, sha256));
};

export const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
