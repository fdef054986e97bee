/** The certificates that the site CA issued to devices: the one place that writes and reads their rows. */
import { createHash, type KeyObject } from 'node:crypto';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { SiteStore } from '../store/site-store.js';

export interface IssuedCertificate {
  readonly device: string;
  readonly certificate: Certificate;
  /** Epoch ms. */
  readonly at: number;
  /** The certificate on whose strength it was issued. */
  readonly replaces?: Certificate;
  /** Whether the device renews it by itself. */
  readonly renews?: boolean;
}

/** Which certificate: by its issuer's subject key id and its serial number. */
const idOf = ({ extensions, serial }: Certificate): [issuerKeyId: string, serial: string] => [
  extensions.authorityKeyId ?? '',
  serial,
];

export interface RegisterOptions {
  /** Fails the write with STORE_CONFLICT when there is a device of this id, looked at in the write itself. */
  readonly onlyNewDevice?: boolean;
}

/** A row, with what is known of its revocation. Times are epoch ms. */
export interface RegisteredCertificate {
  readonly issuerKeyId: string;
  readonly serial: string;
  readonly device: string;
  readonly publicKeySha256: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly replaces: string | null;
  /** 1 when the device renews by itself, 0 when not; null where nobody noted it. */
  readonly renews: number | null;
  /** When a device first authenticated with it; null when none has. */
  readonly firstUsedAt: number | null;
  readonly revokedAt: number | null;
  readonly revocationReason: string | null;
}

/** For the write that issues it. Fails with STORE_CONFLICT when the one that it replaces is revoked by then. */
export const registerCertificate = (
  { device, certificate, at, replaces, renews = false }: IssuedCertificate,
  { onlyNewDevice = false }: RegisterOptions = {},
): Statement => ({
  sql: `INSERT INTO device_certificates
          (serial, device_id, public_key_sha256, issued_at, expires_at, issuer_key_id, replaces, renews, pem, turn)
        SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(turn), 0) + 1 FROM device_certificates)
        WHERE (? OR NOT EXISTS (SELECT 1 FROM devices WHERE device = ?))
          AND NOT EXISTS (SELECT 1 FROM revocations WHERE issuer_key_id = ? AND serial = ?)`,
  params: [
    certificate.serial,
    device,
    publicKeySha256(certificate.publicKey),
    at,
    certificate.notAfter,
    certificate.extensions.authorityKeyId ?? '',
    replaces?.serial ?? null,
    renews ? 1 : 0,
    certificate.pem,
    ...[onlyNewDevice ? 0 : 1, device],
    ...(replaces === undefined ? ['', ''] : idOf(replaces)),
  ],
  expectChanges: 1,
});

/** Certificates from before the register noted who issued them: it can only have been the first authority of this site. */
export const nameIssuer = async (site: SiteStore, issuerKeyId: string): Promise<void> => {
  const nameless = "issuer_key_id = ''";
  const sql = `SELECT 1 FROM device_certificates WHERE ${nameless} LIMIT 1`;
  if ((await site.read.get(sql)) === undefined) return;
  await site.commit([
    {
      sql: `UPDATE device_certificates SET issuer_key_id = ? WHERE ${nameless}`,
      params: [issuerKeyId],
    },
  ]);
};

/** A device has authenticated with it; only the first time counts. */
export const certificateUsed = (serial: string, at: number): Statement => ({
  sql: 'UPDATE device_certificates SET first_used_at = ? WHERE serial = ? AND first_used_at IS NULL',
  params: [at, serial],
});

/** The newest first. */
export const certificatesOf = (read: Database, device: string): Promise<RegisteredCertificate[]> =>
  read.all<RegisteredCertificate>(`${select} WHERE c.device_id = ? ${newestFirst}`, [device]);

/** The certificate of this serial number, if the site issued it. */
export const certificateOf = (
  read: Database,
  serial: string,
): Promise<RegisteredCertificate | undefined> =>
  read.get<RegisteredCertificate>(`${select} WHERE c.serial = ?`, [serial]);

/** The last one that holds and was issued for this key on the strength of another; undefined when there is none. PEM. */
export const renewalOf = async (
  read: Database,
  {
    device,
    publicKeySha256,
    replaces,
  }: Pick<RegisteredCertificate, 'device' | 'publicKeySha256'> & { readonly replaces: string },
  now: number,
): Promise<string | undefined> => {
  const row = await read.get<{ pem: string }>(
    `SELECT c.pem FROM device_certificates c
     WHERE c.device_id = ? AND c.public_key_sha256 = ? AND c.replaces = ? AND c.pem IS NOT NULL
       AND c.expires_at > ? AND NOT EXISTS (
         SELECT 1 FROM revocations r WHERE r.issuer_key_id = c.issuer_key_id AND r.serial = c.serial)
     ORDER BY c.turn DESC`,
    [device, publicKeySha256, replaces, now],
  );
  return row?.pem;
};

/**
 * Takes out what was revoked before then, epoch ms, but for the newest of each device; returns how many, at most `limit`. That they hold no
 * longer stands in the revocations, which are kept for ever: while the time is not known, no date would keep an old certificate out.
 */
export const pruneRegister = async (
  site: SiteStore,
  { revokedBefore, limit }: { readonly revokedBefore: number; readonly limit: number },
): Promise<number> => {
  const rows = await site.read.all<{ serial: string }>(
    `SELECT c.serial FROM device_certificates c
     JOIN revocations r ON r.issuer_key_id = c.issuer_key_id AND r.serial = c.serial
     WHERE r.revoked_at < ? AND EXISTS (
       SELECT 1 FROM device_certificates later
       WHERE later.device_id = c.device_id AND later.turn > c.turn)
     LIMIT ?`,
    [revokedBefore, limit],
  );
  if (rows.length === 0) return 0;
  await site.commit(
    rows.map(({ serial }) => ({
      sql: 'DELETE FROM device_certificates WHERE serial = ?',
      params: [serial],
    })),
  );
  return rows.length;
};

/** How many certificates a device was given since then, epoch ms. */
export const issuedSince = async (
  read: Database,
  device: string,
  since: number,
): Promise<number> => {
  const row = await read.get<{ n: number }>(
    'SELECT count(*) AS n FROM device_certificates WHERE device_id = ? AND issued_at > ?',
    [device, since],
  );
  return row?.n ?? 0;
};

/** Those with which a device has authenticated and that may still be shown, by serial number. */
export const usedSerials = async (read: Database, endedAfter: number): Promise<string[]> => {
  const rows = await read.all<{ serial: string }>(
    `SELECT serial FROM device_certificates WHERE first_used_at IS NOT NULL AND expires_at > ?`,
    [endedAfter],
  );
  return rows.map(({ serial }) => serial);
};

/** Unrevoked ones that ended after `endedAfter`, of devices that use a later one since `usedBefore` or earlier. */
export const supersededCertificates = (
  read: Database,
  { usedBefore, endedAfter, limit }: { usedBefore: number; endedAfter: number; limit: number },
): Promise<RegisteredCertificate[]> =>
  read.all<RegisteredCertificate>(
    `${select}
     WHERE r.serial IS NULL AND c.expires_at > ? AND EXISTS (
       SELECT 1 FROM device_certificates later
       WHERE later.device_id = c.device_id AND later.turn > c.turn AND later.first_used_at <= ?)
     ${newestFirst} LIMIT ?`,
    [endedAfter, usedBefore, limit],
  );

/**
 * Does what takes all certificates that a device has, in a write that holds `asRead`: should one be issued between the look at the
 * register and the commit, it is done again with that one.
 */
export const withCertificatesOf = async <T>(
  read: Database,
  device: string,
  work: (certificates: readonly RegisteredCertificate[], asRead: Statement) => Promise<T>,
): Promise<T> => {
  for (;;) {
    const certificates = await certificatesOf(read, device);
    try {
      return await work(certificates, {
        sql: 'UPDATE device_certificates SET device_id = device_id WHERE device_id = ?',
        params: [device],
        expectChanges: certificates.length,
      });
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_CONFLICT')) throw error;
      const { length } = await certificatesOf(read, device);
      if (length === certificates.length) throw error;
    }
  }
};

/** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
export const publicKeySha256 = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');

const select = `
  SELECT c.issuer_key_id AS issuerKeyId, c.serial, c.device_id AS device,
    c.public_key_sha256 AS publicKeySha256, c.issued_at AS issuedAt, c.expires_at AS expiresAt,
    c.replaces, c.renews, c.first_used_at AS firstUsedAt, r.revoked_at AS revokedAt,
    r.reason AS revocationReason
  FROM device_certificates c
  LEFT JOIN revocations r ON r.issuer_key_id = c.issuer_key_id AND r.serial = c.serial`;
/** As they were issued, not as they are dated: wall time runs back. */
const newestFirst = 'ORDER BY c.turn DESC';
