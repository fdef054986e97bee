/** Users made at the gateway itself. Those of the plan and of the configuration stand there. */
export const localUsers = {
  name: '0014-local-users',
  sql: `
CREATE TABLE local_users (
  user TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
