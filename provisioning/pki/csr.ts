/** Certificate requests (PKCS#10): of one we take the public key and nothing else. */
import 'reflect-metadata';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Name as AsnName } from '@peculiar/asn1-x509';
import { Name, Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import {
  type DistinguishedName,
  distinguishedName,
  encodeName,
  type NameParts,
  parseName,
} from './distinguished-name.js';
import { generatorKey, type SigningKey, signingAlgorithm } from './signing-key.js';

/** What a request has that may be used. */
export interface CertificateRequest {
  readonly publicKey: KeyObject;
  /** The common name it asks for: a wish, which the issuer may compare with what the code allows. */
  readonly commonName: string | undefined;
  /** The whole name, for a renewal, whose name may not change. undefined when it has a form that no name of ours has. */
  readonly subject: DistinguishedName | undefined;
}

/** More than an RSA-4096 request with every usual extension. */
const mostBytes = 16 * 1024;

/** A request in DER for these parts of a name. */
export const createRequest = async (key: SigningKey, subject: NameParts): Promise<Uint8Array> => {
  const { handle, crypto } = generatorKey(key);
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: new Name(encodeName(distinguishedName(subject))),
      keys: { privateKey: handle, publicKey: handle },
      signingAlgorithm,
    },
    crypto,
  );
  return new Uint8Array(request.rawData);
};

/**
 * Parses DER or PEM, checks that the request is signed with the key it names and that the key is one we certify: P-256, or RSA of 2048
 * to 4096 bits. Errors: CERTIFICATE_REQUEST_INVALID.
 */
export const parseRequest = async (input: Uint8Array | string): Promise<CertificateRequest> => {
  if (input.length > mostBytes) throw refused('it is larger than 16 KiB');
  let request: Pkcs10CertificateRequest;
  let publicKey: KeyObject;
  try {
    request = new Pkcs10CertificateRequest(
      typeof input === 'string' ? input : new Uint8Array(input),
    );
    publicKey = createPublicKey({
      key: Buffer.from(request.publicKey.rawData),
      format: 'der',
      type: 'spki',
    });
  } catch (error) {
    throw refused('it cannot be parsed', error);
  }
  if (!isAcceptable(publicKey))
    throw refused('its key is neither P-256 nor RSA of 2048 to 4096 bits');
  if (!(await isSigned(request))) throw refused('its signature is not by the key it names');
  const [commonName] = request.subjectName.getField('CN');
  return { publicKey, commonName, subject: subjectOf(request) };
};

/** A request of another kind of client may have any name; only a renewal asks for it. */
const subjectOf = ({ subjectName }: Pkcs10CertificateRequest): DistinguishedName | undefined => {
  try {
    return parseName(AsnConvert.parse(subjectName.toArrayBuffer(), AsnName));
  } catch {
    return undefined;
  }
};

/** Whether a key is of a kind that we certify and accept in chains. */
export const isAcceptable = ({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean => {
  if (asymmetricKeyType === 'ec') return asymmetricKeyDetails?.namedCurve === 'prime256v1';
  if (asymmetricKeyType !== 'rsa') return false;
  const bits = asymmetricKeyDetails?.modulusLength ?? 0;
  return bits >= 2048 && bits <= 4096;
};

const isSigned = (request: Pkcs10CertificateRequest): Promise<boolean> =>
  request.verify().catch(() => false);

const refused = (why: string, cause?: unknown) =>
  new HoldfastError('CERTIFICATE_REQUEST_INVALID', `The certificate request is refused: ${why}`, {
    cause,
  });
