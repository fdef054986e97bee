/**
 * What a gateway tells of firmware on `GET /firmware/metadata`: the head of its plan and documents that the head names. Fetched over as
 * many attempts as it takes.
 *
 * Errors: `FIRMWARE_METADATA_INVALID` when it is not that; `FIRMWARE_METADATA_MISSING` when the gateway has none to the end;
 * `DEADLINE_EXCEEDED`; the signal's reason.
 */
import type { Agent } from 'node:https';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { wait } from '@holdfast/provisioning/time/wait';
import axios from 'axios';
import * as v from 'valibot';

export interface FirmwareMetadata {
  /** JWS. */
  readonly head: string;
  /** Each as its canonical JSON. */
  readonly documents: readonly string[];
}

export interface MetadataSource {
  readonly baseUrl: () => string;
  readonly agent?: () => Agent;
}

export interface FetchMetadataOptions {
  readonly signal: AbortSignal;
  /** Over all attempts. */
  readonly deadlineMs?: number;
  readonly firstRetryMs?: number;
}

const attemptMs = 30_000;
const maxBytes = 32 * 1024 * 1024;
const schema = v.object({
  head: v.pipe(v.string(), v.maxLength(8 * 1024 * 1024)),
  documents: v.pipe(v.array(v.string()), v.maxLength(10_000)),
});

export const fetchMetadata = (
  source: MetadataSource,
  { signal, deadlineMs = 6 * 3_600_000, firstRetryMs = 500 }: FetchMetadataOptions,
): Promise<FirmwareMetadata> =>
  withDeadline(
    async (within) => {
      const delays = backoff({ firstMs: firstRetryMs, mostMs: 30_000 });
      for (;;) {
        try {
          return await ask(source, within);
        } catch (error) {
          within.throwIfAborted();
          if (isHoldfastError(error, 'FIRMWARE_METADATA_INVALID')) throw error;
          await wait(delays.next().value ?? 0, within);
        }
      }
    },
    deadlineMs,
    { signal, doing: 'fetching the metadata of firmware' },
  );

const ask = async (
  { baseUrl, agent }: MetadataSource,
  signal: AbortSignal,
): Promise<FirmwareMetadata> => {
  const url = new URL('/firmware/metadata', baseUrl()).href;
  const { status, data } = await axios.get<string>(url, {
    responseType: 'text',
    transformResponse: (text: string) => text,
    ...(agent && { httpsAgent: agent() }),
    proxy: false,
    maxRedirects: 0,
    maxContentLength: maxBytes,
    timeout: attemptMs,
    signal,
    validateStatus: () => true,
  });
  if (status !== 200) throw new Error(`${url} answers ${String(status)}`);
  try {
    return v.parse(schema, JSON.parse(data));
  } catch (error) {
    throw new HoldfastError('FIRMWARE_METADATA_INVALID', `${url}: ${messageOf(error)}`, {
      cause: error,
    });
  }
};
