/** Where the key of the site's CA is, and whether it can be used there. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { openSiteCaKey, type SiteCaKeyOptions } from '../trust/site-ca-key.js';
import { type Finding, findingsOf } from './finding.js';

const { ok, failure } = findingsOf('site CA key');

/** `certificate` is the site CA's. */
export const checkSiteCaKey = async (
  options: SiteCaKeyOptions,
  certificate: Certificate,
): Promise<Finding[]> => {
  const { token } = options;
  try {
    const key = await openSiteCaKey(options, certificate);
    if ('close' in key) key.close();
  } catch (error) {
    const next =
      token === undefined
        ? 'bring the file back from a backup, or enrol the gateway again: holdfast gateway code SITE --replace'
        : 'see that the token is plugged in and that pkcs11 in site.yaml names its library, label and PIN file';
    return [failure(messageOf(error), next)];
  }
  return [
    token === undefined
      ? ok(
          'in a file of the data folder, as the other keys; pkcs11 in site.yaml puts it in a token',
        )
      : ok(`in the token "${token.token}" and never outside of it; the other keys are in files`),
  ];
};
