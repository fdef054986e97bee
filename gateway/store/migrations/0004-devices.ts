/** The devices of the site. */
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
  enrolled_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
