/** Who is enrolled here, the codes that were minted here, and every code that was used up. */
export const devices = {
  name: '0004-devices',
  sql: `
CREATE TABLE devices (
  device TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  serial_no TEXT NOT NULL,
  door TEXT NOT NULL,
  firmware_version TEXT,
  boot TEXT,
  online INTEGER NOT NULL DEFAULT 0,
  last_seen INTEGER,
  enrolled_at INTEGER NOT NULL,
  certificate_serial TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
  hash TEXT PRIMARY KEY,
  device TEXT,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE used_claims (
  hash TEXT PRIMARY KEY,
  device TEXT NOT NULL,
  public_key_sha256 TEXT NOT NULL,
  certificate TEXT NOT NULL,
  used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
