/** Who this gateway is: what its enrolment gave it. A readable record beside the keys, none of which ever leave the folder. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import { type KeyPair, readKeyFile } from '@holdfast/provisioning/pki/keys';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';
import { openSiteCaKey, type SiteCaKeyOptions } from './site-ca-key.js';

const schema = v.object({
  fleet: v.string(),
  site: v.string(),
  gateway_id: v.string(),
  epoch: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** `host:port` of the control plane's link, and its HTTPS address, as `https://host:port`. */
  link_address: v.string(),
  https_address: v.string(),
  /** PEM. */
  gateway_certificate: v.string(),
  site_ca_certificate: v.string(),
  root_certificate: v.string(),
  /** SHA-256 of the operator's token, hexadecimal. */
  operator_token_sha256: v.string(),
});
export type GatewayRecord = v.InferOutput<typeof schema>;

/** What the running gateway works with. */
export interface GatewayIdentity {
  readonly record: GatewayRecord;
  /** Signs device certificates and the gateway's own server certificate. */
  readonly siteCa: Authority;
  /** Authenticates the link. */
  readonly link: Authority<KeyPair>;
  readonly root: Authority['certificate'];
}

export const linkKeyFile = 'gateway.key.pem';

export const openGatewayRecord = async (
  dataDirectory: string,
  log: StoreLog,
): Promise<StoredRecord<GatewayRecord | null>> => {
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  return openRecord<GatewayRecord | null>({
    path: join(dataDirectory, 'identity.json'),
    parse: v.parser(v.nullable(schema)),
    initial: null,
    log,
  });
};

/** Errors: GATEWAY_NOT_ENROLLED, KEY_INVALID, STORE_CORRUPT. */
export const loadGatewayIdentity = async (
  { dataDirectory, token }: SiteCaKeyOptions,
  log: StoreLog,
): Promise<GatewayIdentity> => {
  const { data: record } = await openGatewayRecord(dataDirectory, log);
  if (record === null) {
    throw new HoldfastError(
      'GATEWAY_NOT_ENROLLED',
      `${dataDirectory} holds no gateway yet. Get a code with "holdfast gateway code SITE", then: holdfast-gateway enroll CODE --data ${dataDirectory}`,
    );
  }
  const siteCa = parseCertificate(record.site_ca_certificate);
  return {
    record,
    siteCa: { certificate: siteCa, key: await openSiteCaKey({ dataDirectory, token }, siteCa) },
    link: {
      certificate: parseCertificate(record.gateway_certificate),
      key: await readKeyFile(join(dataDirectory, linkKeyFile)),
    },
    root: parseCertificate(record.root_certificate),
  };
};
