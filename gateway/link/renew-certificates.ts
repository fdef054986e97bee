/** Asks the control plane for new certificates by the certificate that the gateway has: over the link's port, or late, over HTTPS. */
import type { Agent } from 'node:https';
import { Metadata } from '@grpc/grpc-js';
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { lateRenewalPath } from '@holdfast/protos/link/late-renewal';
import axios from 'axios';
import * as v from 'valibot';
import { type DialOptions, linkClient } from './dial.js';

const timeoutMs = 30_000;

/** Errors: those of the connection, and the code that the control plane refuses with. */
export const askToRenew = async (
  options: DialOptions,
  request: RenewCertificatesRequest,
): Promise<RenewCertificatesResponse> => {
  const client = linkClient(options);
  try {
    return await new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + timeoutMs);
      client.renewCertificates(request, new Metadata(), { deadline }, (error, answer) => {
        if (error === null) resolve(answer);
        else reject(fromServiceError(error, options.address));
      });
    });
  } finally {
    client.close();
  }
};

export interface LateRenewalOptions {
  /** Of the control plane's HTTPS, as `https://cloud.example:7480`. */
  readonly address: string;
  /** Verifies the control plane, and shows this gateway's certificate. */
  readonly agent: Agent;
}

/** Where the link lets nobody in whose certificate has run out. Errors: those of the connection, and the code that it refuses with. */
export const askLate = async (
  { address, agent }: LateRenewalOptions,
  request: RenewCertificatesRequest,
): Promise<RenewCertificatesResponse> => {
  try {
    const { status, data } = await axios.post<ArrayBuffer>(
      `${address}${lateRenewalPath}`,
      Buffer.from(RenewCertificatesRequest.encode(request).finish()),
      {
        httpsAgent: agent,
        headers: { 'content-type': 'application/x-protobuf' },
        timeout: timeoutMs,
        proxy: false,
        maxRedirects: 0,
        maxContentLength: mostAnswerBytes,
        responseType: 'arraybuffer',
        validateStatus: () => true,
      },
    );
    if (status !== 200) throw refusalOf(Buffer.from(data), status);
    return RenewCertificatesResponse.decode(new Uint8Array(data));
  } catch (error) {
    // What the verified connection says is the reason; axios only wraps it.
    throw axios.isAxiosError(error) ? (error.cause ?? error) : error;
  }
};

const mostAnswerBytes = 1024 * 1024;

const refusal = v.object({ code: v.string(), message: v.pipe(v.string(), v.maxLength(1_000)) });

const refusalOf = (body: Buffer, status: number): HoldfastError => {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), refusal), body.toString());
  if (!parsed.success) return new HoldfastError('CONNECTION_FAILED', `HTTP ${status}`);
  const { code, message } = parsed.output;
  return new HoldfastError(isErrorCode(code) ? code : 'NOT_AUTHORISED', message);
};

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);
