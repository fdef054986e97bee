/**
 * Downloads one file into a partial file beside its place, goes on where a break left it (a power cut too), and gives it its name when
 * its digest is right: what has the name is whole.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import axios, { type AxiosResponse } from 'axios';

export interface DownloadRequest {
  readonly url: string;
  readonly agent?: Agent;
  /** Where the whole file goes. */
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The folder where a file whose digest is wrong is put aside; without it such a file is removed. */
  readonly quarantine?: string;
  /** Without a byte for so long, the connection counts as broken, ms. */
  readonly idleTimeoutMs?: number;
  /** Asked after each piece that came, and before the next is taken: waits for a budget, or rejects to end the attempt. */
  readonly pace?: (bytes: number, signal: AbortSignal) => Promise<void>;
  /** Percent, whole numbers, rising. */
  readonly onProgress?: (percent: number) => void;
  readonly signal: AbortSignal;
}

const partialSuffix = '.part';

/** Where what has arrived of a file stands until it is whole. */
export const partialOf = (path: string): string => `${path}${partialSuffix}`;

/**
 * One attempt. Resolves when the file is on disk under its name. CONNECTION_FAILED and DEADLINE_EXCEEDED: call again, it goes on from
 * there; UPDATE_DOWNLOAD_FAILED: the server refuses it for good; UPDATE_DIGEST_MISMATCH: what came is not what was promised, and gone
 * from here; STORE_FULL; the signal's reason.
 */
export const download = async (request: DownloadRequest): Promise<void> => {
  const { path, sha256, sizeBytes, url } = request;
  const partial = partialOf(path);
  const file = await open(partial, 'a+', 0o600).catch(throwStorage);
  try {
    const held = await hashHeld(file, sizeBytes, request.signal);
    if (held.bytes < sizeBytes) await receive(request, file, held);
    await file.sync().catch(throwStorage);
    if (held.hash.digest('hex') !== sha256) throw mismatch(`what ${url} gives is not ${sha256}`);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UPDATE_DIGEST_MISMATCH') {
      await putAside(request, partial);
    }
    throw error;
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

/** The digest of what an earlier attempt left, read once; a file that is too long is none of ours. */
const hashHeld = async (
  file: FileHandle,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Held> => {
  const held: Held = { bytes: 0, hash: createHash('sha256') };
  const { size } = await file.stat();
  if (size > sizeBytes) await file.truncate(0);
  else {
    const buffer = Buffer.allocUnsafe(256 * 1024);
    while (held.bytes < size) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length, held.bytes);
      if (bytesRead === 0) break;
      held.hash.update(buffer.subarray(0, bytesRead));
      held.bytes += bytesRead;
    }
  }
  return held;
};

const receive = async (request: DownloadRequest, file: FileHandle, held: Held): Promise<void> => {
  const { url, sizeBytes, signal, onProgress, pace, idleTimeoutMs = 30_000 } = request;
  const idle = new AbortController();
  let isPaced = false;
  const timer = setTimeout(() => {
    // That nothing is taken meanwhile is not the other end's fault.
    if (isPaced) timer.refresh();
    else idle.abort();
  }, idleTimeoutMs);
  let percent = -1;
  try {
    const data = await ask(request, file, held, AbortSignal.any([signal, idle.signal]));
    for await (const chunk of data.iterator({ destroyOnReturn: true })) {
      timer.refresh();
      const bytes = chunk as Buffer;
      if (held.bytes + bytes.length > sizeBytes) {
        throw mismatch(`${url} gives more than ${sizeBytes} bytes`);
      }
      await file.appendFile(bytes).catch(throwStorage);
      held.hash.update(bytes);
      held.bytes += bytes.length;
      const now = Math.floor((held.bytes * 100) / sizeBytes);
      if (now > percent) onProgress?.(now);
      percent = now;
      if (pace === undefined || held.bytes === sizeBytes) continue;
      isPaced = true;
      await pace(bytes.length, signal);
      isPaced = false;
      timer.refresh();
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (idle.signal.aborted) {
      throw new HoldfastError('DEADLINE_EXCEEDED', `${url} has gone silent`, { cause: error });
    }
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('CONNECTION_FAILED', `${url}: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  if (held.bytes < sizeBytes) {
    throw new HoldfastError('CONNECTION_FAILED', `${url} ended after ${held.bytes} bytes`);
  }
};

/** What is forbidden, malformed or withdrawn stays so; what is not there yet, or not now, may come. */
const refusals: ReadonlySet<number> = new Set([400, 401, 403, 410]);

/** The body from where `held` ends, or the whole, and then `held` is empty. */
const ask = async (
  { url, agent, sha256 }: DownloadRequest,
  file: FileHandle,
  held: Held,
  signal: AbortSignal,
): Promise<Readable> => {
  const from = held.bytes;
  const { status, headers, data }: AxiosResponse<Readable> = await axios.get(url, {
    responseType: 'stream',
    ...(agent && { httpsAgent: agent }),
    proxy: false,
    // A redirect would lead out of what the agent verifies.
    maxRedirects: 0,
    decompress: false,
    headers: {
      'accept-encoding': 'identity',
      ...(from > 0 ? { range: `bytes=${from}-`, 'if-range': `"${sha256}"` } : {}),
    },
    validateStatus: () => true,
    signal,
  });
  // A body that is read after its socket died says so with 'error', which nobody may be listening for yet.
  data.on('error', () => undefined);
  const range = String(headers['content-range'] ?? '');
  if (status === 206 && range.startsWith(`bytes ${from}-`)) return data;
  if (status === 200 || status === 206 || status === 416) {
    // It does not continue: what it sends now, or when it is asked again, is the whole.
    if (from > 0) await file.truncate(0).catch(throwStorage);
    held.bytes = 0;
    held.hash = createHash('sha256');
    if (status === 200) return data;
  }
  data.destroy();
  const isRefused = refusals.has(status);
  const code = isRefused ? 'UPDATE_DOWNLOAD_FAILED' : 'CONNECTION_FAILED';
  throw new HoldfastError(code, `${url} answers ${status}`, { data: { status } });
};

const mismatch = (message: string) => new HoldfastError('UPDATE_DIGEST_MISMATCH', message);

/** Of the file system's errors only a full disk has a name of its own here; the others are reported as they are. */
const throwStorage = (error: unknown): never => {
  const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
  const code = isFull ? 'STORE_FULL' : 'STORE_UNAVAILABLE';
  throw new HoldfastError(code, `no room for the download: ${messageOf(error)}`, { cause: error });
};

/** The last one is kept, for whoever wants to know what came instead. */
const putAside = async (
  { quarantine, path, sha256 }: DownloadRequest,
  partial: string,
): Promise<void> => {
  if (quarantine === undefined) {
    await rm(partial, { force: true });
    return;
  }
  await rm(quarantine, { recursive: true, force: true });
  await mkdir(quarantine, { recursive: true });
  await rename(partial, join(quarantine, sha256));
  await syncFolder(dirname(path));
};

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
