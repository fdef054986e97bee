/** Codes that were made on site, codes that were used, and the certificates that the site CA issued. Times are epoch ms. */
export const enrolment = {
  name: '0008-enrolment',
  sql: `
CREATE TABLE claims_made (
  hash TEXT PRIMARY KEY,
  device_id TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE claims_used (
  hash TEXT PRIMARY KEY,
  device_id TEXT NOT NULL,
  public_key_sha256 TEXT NOT NULL,
  certificate TEXT NOT NULL,
  used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device_certificates (
  serial TEXT PRIMARY KEY,
  device_id TEXT NOT NULL,
  public_key_sha256 TEXT NOT NULL,
  issued_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_certificates_by_device ON device_certificates (device_id);
`,
};
