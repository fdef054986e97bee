/** Asks the control plane for new certificates over the link's port, by the certificate that the gateway has. */
import { Metadata } from '@grpc/grpc-js';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import type {
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
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
