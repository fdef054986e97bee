/** The tables of the site's database that the link owns; a migration of gateway/store carries them. */

/** Plan, orders and fence. Documents are kept as the bytes that were hashed. */
export const linkSchema = `
CREATE TABLE plan_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  jws TEXT NOT NULL,
  payload TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  applied_at INTEGER NOT NULL
);
CREATE TABLE plan_documents (
  sha256 TEXT PRIMARY KEY,
  content TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE order_positions (
  turn INTEGER PRIMARY KEY AUTOINCREMENT,
  log TEXT NOT NULL UNIQUE,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL
);
CREATE TABLE fence (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  at INTEGER NOT NULL
);
`;
