/** Who this gateway is: what its enrolment gave it. A readable record beside the keys, none of which ever leave the folder. */

import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import { type KeyPair, readKeyFile } from '@holdfast/provisioning/pki/keys';
import type { SigningKey } from '@holdfast/provisioning/pki/signing-key';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
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
  /** Of site CAs with other keys than the present one's: devices may still have certificates of theirs. */
  former_site_cas: v.optional(v.array(v.string()), []),
  root_certificate: v.string(),
  /** SHA-256 of the operator's token, hexadecimal. */
  operator_token_sha256: v.string(),
});
export type GatewayRecord = v.InferOutput<typeof schema>;

/** What the running gateway works with. Its certificates are those of now: they are renewed while it runs, with the keys they have. */
export interface GatewayIdentity {
  readonly record: GatewayRecord;
  /** Signs device certificates and the gateway's own server certificate. */
  readonly siteCa: Authority;
  /** Certificates of every CA of the site that devices may have theirs from, the present one first. */
  readonly siteCas: readonly Certificate[];
  /** Authenticates the link. */
  readonly link: Authority<KeyPair>;
  readonly root: Certificate;
  /** Takes up what the control plane has issued, once it is on disk. What is undefined stays. */
  adopt(renewed: RenewedIdentity): Promise<void>;
}

export interface RenewedIdentity {
  readonly gateway?: Certificate | undefined;
  readonly siteCa?: Certificate | undefined;
  readonly formerSiteCas?: readonly Certificate[] | undefined;
}

export const linkKeyFile = 'gateway.key.pem';

export const openGatewayRecord = async (
  dataDirectory: string,
  log: StoreLog,
): Promise<StoredRecord<GatewayRecord | null>> => {
  await makeFolder(dataDirectory, 0o700);
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
  const stored = await openGatewayRecord(dataDirectory, log);
  const { data: record } = stored;
  if (record === null) {
    throw new HoldfastError(
      'GATEWAY_NOT_ENROLLED',
      `${dataDirectory} holds no gateway yet. Get a code with "holdfast gateway code SITE", then: holdfast-gateway enroll CODE --data ${dataDirectory}`,
    );
  }
  const siteCa = parseCertificate(record.site_ca_certificate);
  return new StoredIdentity(stored, record, {
    siteCa: await openSiteCaKey({ dataDirectory, token }, siteCa),
    link: await readKeyFile(join(dataDirectory, linkKeyFile)),
  });
};

class StoredIdentity implements GatewayIdentity {
  readonly #stored: StoredRecord<GatewayRecord | null>;
  #record: GatewayRecord;
  #certificates: ReturnType<typeof parse>;
  readonly root: Certificate;
  readonly siteCa: Authority;
  readonly link: Authority<KeyPair>;

  constructor(
    stored: StoredRecord<GatewayRecord | null>,
    record: GatewayRecord,
    keys: { readonly siteCa: SigningKey; readonly link: KeyPair },
  ) {
    this.#stored = stored;
    this.#record = record;
    this.#certificates = parse(record);
    this.root = parseCertificate(record.root_certificate);
    // Whoever holds an authority signs with the certificate of now.
    const certificates = () => this.#certificates;
    this.siteCa = {
      key: keys.siteCa,
      get certificate() {
        return certificates().siteCa;
      },
    };
    this.link = {
      key: keys.link,
      get certificate() {
        return certificates().gateway;
      },
    };
  }

  get record(): GatewayRecord {
    return this.#record;
  }

  get siteCas(): readonly Certificate[] {
    const { siteCa, formerSiteCas } = this.#certificates;
    return [siteCa, ...formerSiteCas];
  }

  async adopt({ gateway, siteCa, formerSiteCas }: RenewedIdentity): Promise<void> {
    let adopted = this.#record;
    await this.#stored.update((record) => {
      adopted = {
        // It was there when this gateway started, and nobody deletes it.
        ...(record ?? this.#record),
        ...(gateway && { gateway_certificate: gateway.pem }),
        ...(siteCa && { site_ca_certificate: siteCa.pem }),
        ...(formerSiteCas && { former_site_cas: formerSiteCas.map(({ pem }) => pem) }),
      };
      return adopted;
    });
    this.#record = adopted;
    this.#certificates = parse(adopted);
  }
}

const parse = (record: GatewayRecord) => ({
  gateway: parseCertificate(record.gateway_certificate),
  siteCa: parseCertificate(record.site_ca_certificate),
  formerSiteCas: record.former_site_cas.map((pem) => parseCertificate(pem)),
});
