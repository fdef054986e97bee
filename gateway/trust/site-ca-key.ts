/** The key of the site's CA: in a file of the data folder, or in a token that never gives it out. */
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { loadOrCreateKey, readKeyFile } from '@holdfast/provisioning/pki/keys';
import { openTokenKey, type TokenOptions } from '@holdfast/provisioning/pki/pkcs11';
import type { SigningKey } from '@holdfast/provisioning/pki/signing-key';

export interface SiteCaKeyOptions {
  readonly dataDirectory: string;
  /** Where it is in hardware. */
  readonly token: TokenOptions | undefined;
}

export const siteCaKeyFile = 'site-ca.key.pem';

/** For an enrolment: made where it is to stay, if it is not there yet. Errors: KEY_INVALID. */
export const createSiteCaKey = ({ dataDirectory, token }: SiteCaKeyOptions): Promise<SigningKey> =>
  token === undefined
    ? loadOrCreateKey(join(dataDirectory, siteCaKeyFile))
    : openTokenKey(token, { create: true });

/** Errors: KEY_INVALID, also when it is not the key of the certificate. */
export const openSiteCaKey = async (
  { dataDirectory, token }: SiteCaKeyOptions,
  certificate: Certificate,
): Promise<SigningKey> => {
  const key =
    token === undefined
      ? await readKeyFile(join(dataDirectory, siteCaKeyFile))
      : await openTokenKey(token, { create: false });
  if (key.publicKey.equals(certificate.publicKey)) return key;
  const where = token === undefined ? siteCaKeyFile : `the key "${token.key}" of the token`;
  throw new HoldfastError(
    'KEY_INVALID',
    `${where} is not the key of this site's CA. The settings of pkcs11 are to be those of the enrolment; to move the key, enrol the gateway again`,
  );
};
