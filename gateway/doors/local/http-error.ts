/** Errors as the local API tells them: `{code, message, next?}`, where `next` is what a person can do about it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';

const nexts: Partial<Record<ErrorCode, string>> = {
  CERTIFICATE_EXPIRED: 'Enrol with a new code: holdfast device claim ID',
  CLAIM_EXPIRED: 'Ask for a new code: holdfast device claim ID',
  CLAIM_UNKNOWN: 'Make a code on site: holdfast --gateway device claim ID',
  CLAIM_USED: 'Ask for a new code: holdfast device claim ID',
  GATEWAY_FENCED: 'This gateway was replaced; use the new one',
  NOT_AUTHENTICATED:
    'Sign in (holdfast gateway login), or draw a new operator token: holdfast-gateway login-code',
  PEER_REFUSED: 'Use the certificate that the device got when it enrolled at this site',
  STORE_FULL: 'Make room on the disk of the gateway',
};

/**
 * Answers with the error, or cuts the connection when a part of the answer has left already. Returns false for an error that nobody
 * expected, which is for the log: the asker learns nothing of it.
 */
export const sendError = (
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): boolean => {
  const isExpected = isHoldfastError(error) && error.code !== 'INTERNAL';
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return isExpected;
  }
  const code = isExpected ? error.code : 'INTERNAL';
  const message = isExpected ? error.message : errorCodes.INTERNAL.meaning;
  const next = isExpected && typeof error.data.next === 'string' ? error.data.next : nexts[code];
  const text = JSON.stringify({ code, message, ...(next === undefined ? {} : { next }) });
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  if (isExpected && typeof error.data.retryAfterMs === 'number') {
    response.setHeader('retry-after', Math.ceil(error.data.retryAfterMs / 1_000));
  }
  const challenge = isExpected ? error.data.challenge : undefined;
  if (typeof challenge === 'string') response.setHeader('www-authenticate', challenge);
  else if (code === 'NOT_AUTHENTICATED') response.setHeader('www-authenticate', 'Bearer');
  // What was not read of the request would be taken for the next one.
  if (!request.complete) response.setHeader('connection', 'close');
  response.writeHead(errorCodes[code].http, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(text);
  return isExpected;
};
