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

/**
 * What MQTT 5 adds, for rows that were there before as well. Times are the broker's elapsed time, ms (`elapsed-time.ts`): NULL is never, or
 * not yet known. `properties` are those carried with a message, as they are written in a PUBLISH; `share` is the shared subscription a
 * queued copy came by; `expiry` of a session is how long it outlives its connection, of a will how long its message is good for.
 */
export const mqtt5Schema = `
ALTER TABLE mqtt_sessions ADD COLUMN expiry INTEGER;
ALTER TABLE mqtt_sessions ADD COLUMN expires_at INTEGER;
ALTER TABLE mqtt_subscriptions ADD COLUMN options INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mqtt_subscriptions ADD COLUMN identifier INTEGER;
ALTER TABLE mqtt_queue ADD COLUMN properties BLOB;
ALTER TABLE mqtt_queue ADD COLUMN expires_at INTEGER;
ALTER TABLE mqtt_queue ADD COLUMN share TEXT;
ALTER TABLE mqtt_retained ADD COLUMN properties BLOB;
ALTER TABLE mqtt_retained ADD COLUMN expires_at INTEGER;
ALTER TABLE mqtt_wills ADD COLUMN properties BLOB;
ALTER TABLE mqtt_wills ADD COLUMN expiry INTEGER;
ALTER TABLE mqtt_wills ADD COLUMN delay INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mqtt_wills ADD COLUMN due_at INTEGER;
CREATE TABLE mqtt_time (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  elapsed INTEGER NOT NULL,
  wall INTEGER
);
`;
