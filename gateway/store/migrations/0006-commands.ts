/** Commands to single devices, each with one response. */
export const commands = {
  name: '0006-commands',
  sql: `
CREATE TABLE commands (
  device TEXT NOT NULL,
  command TEXT NOT NULL,
  type TEXT NOT NULL,
  payload TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  state TEXT NOT NULL,
  response TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  answered_at INTEGER,
  PRIMARY KEY (device, command)
) STRICT, WITHOUT ROWID;
CREATE INDEX commands_open ON commands (expires_at) WHERE state IN ('delivered', 'accepted');
`,
};
