/**
 * Fetches one firmware to a file, over as many attempts as it takes: each goes on where the one before was broken off.
 *
 * Errors: `UPDATE_DIGEST_MISMATCH` after a download from the first byte on, also when the size is wrong; `UPDATE_DOWNLOAD_FAILED` when
 * the server refuses it for good; `STORE_FULL`; `DEADLINE_EXCEEDED`; the signal's reason.
 */
import { mkdir, stat } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { dirname } from 'node:path';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { wait } from '@holdfast/provisioning/time/wait';
import { download, partialOf } from '@holdfast/provisioning/transfer/download';

export interface FirmwareRequest {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly path: string;
  /** Asked before each attempt: the gateway may have another address by then. */
  readonly url: () => string;
  /** There is another way: what the server does not have, or what does not get on, is not waited for. */
  readonly isDispensable?: boolean;
}

export interface FetchOptions {
  readonly agent?: Agent;
  readonly signal: AbortSignal;
  /** Percent, whole numbers, rising within an attempt. */
  readonly onProgress?: (percent: number) => void;
  /** Over all attempts. */
  readonly deadlineMs?: number;
  /** Silence after which an attempt is given up. */
  readonly idleTimeoutMs?: number;
  readonly firstRetryMs?: number;
}

const sixHoursMs = 6 * 3_600_000;

export const fetchFirmware = async (
  request: FirmwareRequest,
  options: FetchOptions,
): Promise<void> => {
  await mkdir(dirname(request.path), { recursive: true });
  await withDeadline(
    (signal) => attemptUntilDone(request, { ...options, signal }),
    options.deadlineMs ?? sixHoursMs,
    { signal: options.signal, doing: 'the download' },
  );
};

const attemptUntilDone = async (
  { url, isDispensable = false, ...file }: FirmwareRequest,
  { firstRetryMs = 500, deadlineMs: _, ...options }: FetchOptions,
): Promise<void> => {
  const newDelays = () => backoff({ firstMs: firstRetryMs, mostMs: 30_000 });
  const partial = partialOf(file.path);
  let delays = newDelays();
  let attemptsInVain = 0;
  for (;;) {
    const before = await sizeOf(partial);
    try {
      await download({ ...file, ...options, url: url() });
      return;
    } catch (error) {
      options.signal.throwIfAborted();
      if (isFinal(error, before) || (isDispensable && isMissing(error))) throw error;
      attemptsInVain += 1;
      if ((await sizeOf(partial)) > before) {
        delays = newDelays();
        attemptsInVain = 0;
      }
      if (isDispensable && attemptsInVain >= mostAttemptsInVain) throw error;
      await wait(delays.next().value ?? 0, options.signal);
    }
  }
};

/** A wrong digest of something resumed may be the resumed part's fault, so that one more whole download is tried. */
const isFinal = (error: unknown, resumedFrom: number): boolean =>
  isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH')
    ? resumedFrom === 0
    : isHoldfastError(error, 'UPDATE_DOWNLOAD_FAILED') || isHoldfastError(error, 'STORE_FULL');

/** Of what is dispensable: about a minute. */
const mostAttemptsInVain = 8;

const isMissing = (error: unknown): boolean =>
  isHoldfastError(error, 'CONNECTION_FAILED') && error.data.status === 404;

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );
