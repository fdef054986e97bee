/** What an enrolment leaves in the database: the use of its proof, the certificate, and the journal's word of it. */
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Door } from '../devices/device-events.js';
import { journalEntry } from '../store/journal.js';
import { publicKeySha256, registerCertificate } from './certificate-register.js';
import type { CodeProof, ManufacturerProof, UsedProof } from './decide-enrolment.js';

/** A device that is about to be enrolled. */
export interface AdmittedDevice {
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  readonly firmwareVersion: string | undefined;
  /** Absent: the native topics. */
  readonly door?: Door;
}

export type Proof = CodeProof | ManufacturerProof;

/** A proof that was used, with the certificate that it was used for in PEM. */
export interface StoredUse extends UsedProof {
  readonly certificate: string;
}

/** What is to be committed. */
export interface Enrolment {
  readonly proof: Proof;
  /** What the proof was used for before, when it was decided. */
  readonly used: StoredUse | undefined;
  readonly admission: AdmittedDevice;
  readonly certificate: Certificate;
  /** Epoch ms. */
  readonly at: number;
  readonly renews: boolean;
}

export const readUse = (read: Database, hash: string): Promise<StoredUse | undefined> =>
  read.get<StoredUse>(
    `SELECT device_id AS device, public_key_sha256 AS publicKeySha256, certificate
     FROM claims_used WHERE hash = ?`,
    [hash],
  );

/** Fails with STORE_CONFLICT when the proof was used meanwhile, or the id of a device that has to be new is taken. */
export const writeEnrolment = (
  { proof, used, admission, certificate, at, renews }: Enrolment,
  { onlyNewDevice, now }: { readonly onlyNewDevice: boolean; readonly now: number },
): Write => {
  const { device, model, serialNo } = admission;
  return [
    {
      // A proof is used once, whoever else uses it at this moment. A manufacturer's may be used again for a device that is gone.
      sql: `INSERT INTO claims_used (hash, device_id, public_key_sha256, certificate, used_at) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (hash) DO UPDATE SET device_id = excluded.device_id, certificate = excluded.certificate,
              public_key_sha256 = excluded.public_key_sha256, used_at = excluded.used_at
            WHERE public_key_sha256 = ?`,
      params: [
        ...[proof.hash, device, publicKeySha256(certificate.publicKey), certificate.pem, at],
        used?.publicKeySha256 ?? '',
      ],
      expectChanges: 1,
    },
    registerCertificate({ device, certificate, at, renews }, { onlyNewDevice }),
    journalEntry(
      'audit',
      'device_enrolled',
      {
        device,
        model,
        serial_no: serialNo,
        door: 'native',
        certificate_serial: certificate.serial,
        issuer_key_id: certificate.extensions.authorityKeyId ?? '',
        expires_at: certificate.notAfter,
        claim_hash: proof.kind === 'code' ? proof.hash : null,
        ...(proof.kind === 'manufacturer' && { manufacturer: proof.manufacturer.id }),
      },
      now,
    ),
  ];
};
