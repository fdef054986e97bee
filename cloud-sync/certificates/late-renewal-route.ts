/**
 * POST of a RenewCertificatesRequest to `/gateways/certificates`, for a gateway whose certificate ran out while it was cut off: the link,
 * whose TLS checks dates, does not let it in. Whoever owns the site and was not revoked gets what the link would have given.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import {
  lateRenewalMs,
  lateRenewalPath,
  mostLateRenewalBytes,
} from '@holdfast/protos/link/late-renewal';
import type { HttpsRoute } from '../api/https-server.js';
import { type RenewGatewayDependencies, renewGatewayCertificates } from './renew-gateway.js';

export const lateRenewalRoute = (deps: RenewGatewayDependencies): HttpsRoute => ({
  method: 'POST',
  path: new RegExp(`^${lateRenewalPath}$`),
  expiredForMs: lateRenewalMs,
  serve: async ({ request, gateway }, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > mostLateRenewalBytes) throw malformed('the request is too long');
      chunks.push(chunk);
    }
    const renewed = await renewGatewayCertificates(deps, gateway, parse(Buffer.concat(chunks)));
    const body = RenewCertificatesResponse.encode(renewed).finish();
    response.writeHead(200, {
      'content-type': 'application/x-protobuf',
      'content-length': body.length,
    });
    response.end(body);
  },
});

const parse = (body: Buffer): RenewCertificatesRequest => {
  try {
    return RenewCertificatesRequest.decode(body);
  } catch (cause) {
    throw malformed('the request is no RenewCertificatesRequest', cause);
  }
};

const malformed = (message: string, cause?: unknown) =>
  new HoldfastError('REQUEST_INVALID', message, { cause });
