/** HTTP Basic (RFC 7617) as EST clients use it: the user is the device's id, the password a claim code or the secret in it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseClaimCode } from '@holdfast/provisioning/pki/claim-code';

export interface BasicCredentials {
  /** Empty where the client gives none: then the code has to say it. */
  readonly device: string;
  readonly secret: string;
}

const longest = 1_024;
/** A secret has 16 digits, a code at least 72. */
const longestSecret = 40;

/** undefined when there are none. Errors: REQUEST_INVALID, CLAIM_CODE_INVALID for a code that was mistyped. */
export const basicCredentials = (
  authorization: string | undefined,
): BasicCredentials | undefined => {
  if (authorization === undefined) return undefined;
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.[1];
  if (encoded === undefined || encoded.length > longest) {
    throw new HoldfastError('REQUEST_INVALID', 'only HTTP Basic is understood here');
  }
  const [, device = '', password = ''] =
    /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? [];
  return { device, secret: secretIn(password) };
};

/** The whole code, as it is printed on the label, or its secret alone. */
const secretIn = (password: string): string =>
  password.length > longestSecret ? parseClaimCode(password, 'device').secret : password;
