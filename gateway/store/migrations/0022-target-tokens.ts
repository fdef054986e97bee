/** The tokens with which clients of hawkBit's device interface say which device they are: one a device, its SHA-256. */
export const targetTokens = {
  name: '0022-target-tokens',
  sql: `
CREATE TABLE target_tokens (
  device_id TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  made_at INTEGER NOT NULL,
  made_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
