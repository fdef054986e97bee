/** The broker's rows: what it writes, as parts of a Write, and what it reads back on open. */
import type { Store } from '@holdfast/provisioning/storage/store';
import { type Append, appendTable, type Statement } from '@holdfast/provisioning/storage/write';
import type { Identity } from '../trust/identity.js';
import type { QoS } from './message.js';

export interface SessionRow {
  readonly key: number;
  readonly clientId: string;
  /** The device it belongs to; null for a service. */
  readonly device: string | null;
  readonly lastSeenAt: number;
}
export interface QueueRow {
  readonly seq: number;
  readonly session: number;
  readonly packetId: number | null;
  readonly state: number;
  readonly qos: QoS;
  readonly size: number;
}
export interface QueuedRow {
  readonly seq: number;
  readonly retain: number;
  readonly topic: string;
  readonly payload: Buffer;
}
export interface RetainedRow {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly owner: string;
}
export interface WillRow {
  readonly clientId: string;
  readonly connection: string;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly identity: Identity | null;
}

/** What a queued message counts for beside its payload and topic: row and bookkeeping. */
export const queuedOverheadBytes = 64;

const queue = appendTable('mqtt_queue', [
  'seq',
  'session',
  'packet_id',
  'state',
  'qos',
  'retain',
  'topic',
  'payload',
]);
const inbox = appendTable('mqtt_inbox', ['session', 'packet_id'], { onConflict: 'replace' });
const retained = appendTable('mqtt_retained', ['topic', 'payload', 'qos', 'owner'], {
  onConflict: 'replace',
});

export const saveSession = (row: SessionRow): Statement => ({
  sql: `INSERT INTO mqtt_sessions (key, client_id, device, last_seen_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (client_id) DO UPDATE SET key = excluded.key, device = excluded.device, last_seen_at = excluded.last_seen_at`,
  params: [row.key, row.clientId, row.device, row.lastSeenAt],
});

export const removeSession = (key: number): Statement[] => [
  { sql: 'DELETE FROM mqtt_sessions WHERE key = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_subscriptions WHERE session = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_queue WHERE session = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_inbox WHERE session = ?', params: [key] },
];

export const saveSubscription = (session: number, filter: string, qos: QoS): Statement => ({
  sql: 'INSERT OR REPLACE INTO mqtt_subscriptions (session, filter, qos) VALUES (?, ?, ?)',
  params: [session, filter, qos],
});

export const removeSubscriptions = (session: number, filters: readonly string[]): Statement => ({
  sql: 'DELETE FROM mqtt_subscriptions WHERE session = ? AND filter IN (SELECT value FROM json_each(?))',
  params: [session, JSON.stringify(filters)],
});

export const enqueue = (row: {
  readonly seq: number;
  readonly session: number;
  readonly packetId: number | null;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly topic: string;
  readonly payload: Uint8Array;
}): Append => ({
  into: queue,
  row: [row.seq, row.session, row.packetId, 0, row.qos, row.retain ? 1 : 0, row.topic, row.payload],
});

export const saveQueueState = (seq: number, packetId: number | null, state: number): Statement => ({
  sql: 'UPDATE mqtt_queue SET packet_id = ?, state = ? WHERE seq = ?',
  params: [packetId, state, seq],
});

export const dequeue = (seqs: readonly number[]): Statement => ({
  sql: 'DELETE FROM mqtt_queue WHERE seq IN (SELECT value FROM json_each(?))',
  params: [JSON.stringify(seqs)],
});

export const saveInbox = (session: number, packetId: number): Append => ({
  into: inbox,
  row: [session, packetId],
});

export const removeInbox = (session: number, packetId?: number): Statement =>
  packetId === undefined
    ? { sql: 'DELETE FROM mqtt_inbox WHERE session = ?', params: [session] }
    : {
        sql: 'DELETE FROM mqtt_inbox WHERE session = ? AND packet_id = ?',
        params: [session, packetId],
      };

/** An empty payload deletes. */
export const saveRetained = (
  row: Omit<RetainedRow, 'payload'> & { payload: Uint8Array },
): Append => ({
  into: retained,
  row: [row.topic, row.payload.length === 0 ? null : row.payload, row.qos, row.owner],
});

export const saveWill = (will: WillRow): Statement => ({
  sql: `INSERT OR REPLACE INTO mqtt_wills (client_id, connection, topic, payload, qos, retain, identity)
    VALUES (?, ?, ?, ?, ?, ?, ?)`,
  params: [
    will.clientId,
    will.connection,
    will.topic,
    will.payload,
    will.qos,
    will.retain ? 1 : 0,
    JSON.stringify(will.identity),
  ],
});

/** Of this connection only: the same client may be back already, with a will of its own. */
export const removeWill = (clientId: string, connection: string): Statement => ({
  sql: 'DELETE FROM mqtt_wills WHERE client_id = ? AND connection = ?',
  params: [clientId, connection],
});

export interface BrokerRows {
  readonly sessions: SessionRow[];
  readonly subscriptions: { session: number; filter: string; qos: QoS }[];
  readonly queue: QueueRow[];
  readonly inbox: { session: number; packetId: number }[];
  readonly retained: RetainedRow[];
  readonly wills: WillRow[];
}

/** Removes what belongs to nobody any more and reads the rest; queued payloads stay on disk. */
export const loadBrokerRows = async (
  store: Pick<Store, 'read' | 'commits'>,
): Promise<BrokerRows> => {
  const orphans = 'session NOT IN (SELECT key FROM mqtt_sessions)';
  await store.commits.commit([
    { sql: `DELETE FROM mqtt_queue WHERE ${orphans}` },
    { sql: `DELETE FROM mqtt_inbox WHERE ${orphans}` },
    { sql: `DELETE FROM mqtt_subscriptions WHERE ${orphans}` },
    { sql: 'DELETE FROM mqtt_retained WHERE payload IS NULL' },
  ]);
  const { read } = store;
  const wills = await read.all<
    Omit<WillRow, 'retain' | 'identity'> & { retain: number; identity: string }
  >(
    'SELECT client_id AS clientId, connection, topic, payload, qos, retain, identity FROM mqtt_wills',
  );
  return {
    sessions: await read.all(
      'SELECT key, client_id AS clientId, device, last_seen_at AS lastSeenAt FROM mqtt_sessions',
    ),
    subscriptions: await read.all('SELECT session, filter, qos FROM mqtt_subscriptions'),
    queue: await read.all(
      `SELECT seq, session, packet_id AS packetId, state, qos,
        length(payload) + length(CAST(topic AS BLOB)) + ${queuedOverheadBytes} AS size FROM mqtt_queue ORDER BY seq`,
    ),
    inbox: await read.all('SELECT session, packet_id AS packetId FROM mqtt_inbox'),
    retained: await read.all('SELECT topic, payload, qos, owner FROM mqtt_retained'),
    wills: wills.map((will) => ({
      ...will,
      retain: will.retain === 1,
      // Written by `saveWill` from an Identity.
      identity: JSON.parse(will.identity) as Identity | null,
    })),
  };
};

/** The messages of these queue rows. */
export const readQueued = (
  store: Pick<Store, 'read'>,
  seqs: readonly number[],
): Promise<QueuedRow[]> =>
  store.read.all(
    'SELECT seq, retain, topic, payload FROM mqtt_queue WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq',
    [JSON.stringify(seqs)],
  );

/** All that is kept of a device's sessions and topics, for the write with which it goes. */
export const removeDeviceRows = (device: string): Statement[] => [
  ...['mqtt_queue', 'mqtt_inbox', 'mqtt_subscriptions'].map((table) => ({
    sql: `DELETE FROM ${table} WHERE session IN (SELECT key FROM mqtt_sessions WHERE device = ?)`,
    params: [device],
  })),
  { sql: 'DELETE FROM mqtt_sessions WHERE device = ?', params: [device] },
  { sql: 'DELETE FROM mqtt_retained WHERE owner = ?', params: [`device:${device}`] },
];
