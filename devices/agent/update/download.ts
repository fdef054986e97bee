/**
 * Fetches one firmware to a file: streamed, resumed with Range after any break (a power cut too), and there only once its digest is right.
 *
 * What has arrived stands in `<path>.part`. Errors: `UPDATE_DIGEST_MISMATCH` after a download from the first byte on, also when the size
 * is wrong; `UPDATE_DOWNLOAD_FAILED` when the server refuses it for good; `DEADLINE_EXCEEDED`; the signal's reason.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { wait } from '@holdfast/provisioning/time/wait';
import axios from 'axios';
import { syncPath } from './sync-tree.js';

export interface DownloadRequest {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly path: string;
  /** Asked before each attempt: the gateway may have another address by then. */
  readonly url: () => string;
}

export interface DownloadOptions {
  readonly httpsAgent?: Agent;
  readonly signal: AbortSignal;
  /** Percent, whole numbers, rising. */
  readonly onProgress?: (percent: number) => void;
  /** Over all attempts. */
  readonly deadlineMs?: number;
  /** Silence after which an attempt is given up. */
  readonly idleMs?: number;
  readonly firstRetryMs?: number;
}

const sixHoursMs = 6 * 3_600_000;

export const download = async (
  request: DownloadRequest,
  options: DownloadOptions,
): Promise<void> => {
  await mkdir(dirname(request.path), { recursive: true });
  await withDeadline(
    (signal) => attemptUntilDone(request, options, signal),
    options.deadlineMs ?? sixHoursMs,
    {
      signal: options.signal,
      doing: 'the download',
    },
  );
};

/** The digest of a whole file, in hexadecimal. */
export const digestOf = async (path: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer);
  return hash.digest('hex');
};

const attemptUntilDone = async (
  request: DownloadRequest,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<void> => {
  let delays = newDelays(options);
  for (;;) {
    const before = await sizeOf(partOf(request));
    try {
      await attempt(request, options, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (isFinal(error, before)) throw error;
      if ((await sizeOf(partOf(request))) > before) delays = newDelays(options);
      await wait(delays.next().value ?? 0, signal);
    }
  }
};

const newDelays = ({ firstRetryMs = 500 }: DownloadOptions) =>
  backoff({ firstMs: firstRetryMs, mostMs: 30_000 });

/** A wrong digest of something resumed may be the resumed part's fault, so that one more whole download is tried. */
const isFinal = (error: unknown, resumedFrom: number): boolean =>
  isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH')
    ? resumedFrom === 0
    : isHoldfastError(error, 'UPDATE_DOWNLOAD_FAILED');

const partOf = ({ path }: DownloadRequest): string => `${path}.part`;

const attempt = async (
  request: DownloadRequest,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<void> => {
  const file = await open(partOf(request), 'a+', 0o600);
  try {
    await receive(file, request, options, signal);
    await file.sync();
  } catch (error) {
    if (isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH'))
      await rm(partOf(request), { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await rename(partOf(request), request.path);
  await syncPath(dirname(request.path));
};

const receive = async (
  file: FileHandle,
  request: DownloadRequest,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<void> => {
  const { sha256, sizeBytes } = request;
  let from = (await file.stat()).size;
  if (from > sizeBytes) from = await restart(file);
  let hash = await hashOfPart(request, from, signal);
  if (from < sizeBytes) {
    const { status, data } = await ask(request.url(), from, options, signal);
    try {
      if (status === 200 && from > 0) {
        from = await restart(file);
        hash = createHash('sha256');
      }
      await store(file, data, hash, { from, ...request, ...options });
    } finally {
      data.destroy();
    }
  }
  if (hash.digest('hex') !== sha256) throw mismatch('its SHA-256 is another');
};

const restart = async (file: FileHandle): Promise<number> => {
  await file.truncate(0);
  return 0;
};

/** The digest goes on where the part ends, so the part is read once after a break. */
const hashOfPart = async (
  request: DownloadRequest,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Hash> => {
  const hash = createHash('sha256');
  if (sizeBytes === 0) return hash;
  const part = createReadStream(partOf(request), { end: sizeBytes - 1, signal });
  for await (const chunk of part) hash.update(chunk as Buffer);
  return hash;
};

const ask = async (
  url: string,
  from: number,
  { httpsAgent }: DownloadOptions,
  signal: AbortSignal,
): Promise<{ status: number; data: Readable }> => {
  const response = await axios.get<Readable>(url, {
    responseType: 'stream',
    decompress: false,
    maxRedirects: 0,
    proxy: false,
    signal,
    ...(httpsAgent && { httpsAgent }),
    headers: from > 0 ? { range: `bytes=${String(from)}-` } : {},
    validateStatus: () => true,
  });
  const { status, data, headers } = response;
  const range = String(headers['content-range'] ?? '');
  if (status === 200 || (status === 206 && range.startsWith(`bytes ${String(from)}-`))) {
    return { status, data };
  }
  data.destroy();
  const message = `The gateway answered ${String(status)}`;
  // What is not there yet, or not now, may come; what is forbidden or malformed stays so.
  const isForGood = [400, 401, 403, 410].includes(status);
  throw new HoldfastError(isForGood ? 'UPDATE_DOWNLOAD_FAILED' : 'CONNECTION_FAILED', message);
};

const store = async (
  file: FileHandle,
  data: Readable,
  hash: Hash,
  {
    from,
    sizeBytes,
    onProgress,
    idleMs = 30_000,
  }: { from: number } & DownloadRequest & DownloadOptions,
): Promise<void> => {
  let received = from;
  let percent = -1;
  const idle = setTimeout(() => data.destroy(new Error('no bytes for too long')), idleMs);
  try {
    for await (const chunk of data as AsyncIterable<Buffer>) {
      idle.refresh();
      received += chunk.length;
      if (received > sizeBytes) throw mismatch('it is larger');
      hash.update(chunk);
      await file.writeFile(chunk);
      const now = Math.floor((received * 100) / sizeBytes);
      if (now > percent) onProgress?.(now);
      percent = now;
    }
  } finally {
    clearTimeout(idle);
  }
  if (received < sizeBytes) throw new HoldfastError('CONNECTION_FAILED', 'It ended too early');
};

const mismatch = (why: string) =>
  new HoldfastError('UPDATE_DIGEST_MISMATCH', `The download is not what was promised: ${why}`);

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );
