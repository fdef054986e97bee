/** Effects that were decided and are still to be performed. AUTOINCREMENT: `seq` is their order, also across a restart. */
export const outbox = {
  name: '0002-outbox',
  sql: `
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  ordering_key TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
`,
};
