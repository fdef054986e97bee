/** The tables of the site's database that the broker owns; a migration of gateway/store carries them. */

/**
 * A session has a key of its own, drawn anew when the client id starts again: rows that a message in flight leaves behind for a
 * session that ended belong to nobody and are removed on open. A `NULL` payload of a retained message is its deletion, so that setting
 * and deleting keep their order within one commit.
 */
export const brokerSchema = `
CREATE TABLE mqtt_sessions (
  key INTEGER PRIMARY KEY,
  client_id TEXT NOT NULL UNIQUE,
  device TEXT,
  last_seen_at INTEGER NOT NULL
);
CREATE TABLE mqtt_subscriptions (
  session INTEGER NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  PRIMARY KEY (session, filter)
) WITHOUT ROWID;
CREATE TABLE mqtt_queue (
  seq INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  packet_id INTEGER,
  state INTEGER NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL
);
CREATE TABLE mqtt_inbox (
  session INTEGER NOT NULL,
  packet_id INTEGER NOT NULL,
  PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;
CREATE TABLE mqtt_retained (
  topic TEXT PRIMARY KEY,
  payload BLOB,
  qos INTEGER NOT NULL,
  owner TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE mqtt_wills (
  client_id TEXT PRIMARY KEY,
  connection TEXT NOT NULL,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  identity TEXT NOT NULL
);
`;
