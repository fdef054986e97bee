/** What travels in EST (RFC 7030, 3.2.4 and 4): base64 of DER in the body, whatever its lines, and of PKCS#7 in the answer, on one. */
import type { ServerResponse } from 'node:http';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { encodeCertsOnly } from '@holdfast/provisioning/pki/certs-only';

/** A request in DER. Content-Transfer-Encoding is not looked at (RFC 8951, 2.1). Errors: CERTIFICATE_REQUEST_INVALID. */
export const readRequest = (body: Uint8Array): Uint8Array => {
  const text = Buffer.from(body)
    .toString('latin1')
    // Some clients send PEM.
    .replace(/-----[A-Z ]+-----/g, '')
    .replace(/\s+/g, '');
  if (text === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
    throw new HoldfastError(
      'CERTIFICATE_REQUEST_INVALID',
      'the body is to be a PKCS#10 request in base64 (application/pkcs10)',
    );
  }
  return Buffer.from(text, 'base64');
};

/** Clients in the field want the base64 unwrapped, and a length. */
export const sendCertificates = (
  response: ServerResponse,
  certificates: readonly Certificate[],
  { isEnrolment = false }: { readonly isEnrolment?: boolean } = {},
): undefined => {
  const text = Buffer.from(encodeCertsOnly(certificates)).toString('base64');
  response.writeHead(200, {
    'content-type': `application/pkcs7-mime${isEnrolment ? '; smime-type=certs-only' : ''}`,
    'content-transfer-encoding': 'base64',
    'content-length': text.length,
  });
  response.end(text);
  return undefined;
};
