/** What became of the certificates that the site CA issued, and which of all certificates hold no longer. Times are epoch ms. */
export const trust = {
  name: '0010-trust',
  sql: `
ALTER TABLE device_certificates ADD COLUMN issuer_key_id TEXT NOT NULL DEFAULT '';
ALTER TABLE device_certificates ADD COLUMN replaces TEXT;
ALTER TABLE device_certificates ADD COLUMN first_used_at INTEGER;
CREATE TABLE revocations (
  issuer_key_id TEXT NOT NULL,
  serial TEXT NOT NULL,
  device TEXT,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  revoked_at INTEGER NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (issuer_key_id, serial)
) STRICT, WITHOUT ROWID;
CREATE TABLE crls (
  issuer_key_id TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  this_update INTEGER NOT NULL,
  next_update INTEGER NOT NULL,
  pem TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
