/** The broker's rows: what it writes, as parts of a Write, and what it reads back on open. */
import type { Store } from '@holdfast/provisioning/storage/store';
import { type Append, appendTable, type Statement } from '@holdfast/provisioning/storage/write';
import type { Identity } from '../trust/identity.js';
import type { ElapsedRecord } from './elapsed-time.js';
import type { QoS } from './message.js';
import type { Subscription } from './subscription-index.js';

export interface SessionRow {
  readonly key: number;
  readonly clientId: string;
  /** The device it belongs to; null for a service. */
  readonly device: string | null;
  readonly lastSeenAt: number;
  /** How long it outlives its connection, ms; null: for ever. */
  readonly expiry: number | null;
  /** Null while the client is connected, or never. */
  readonly expiresAt: number | null;
}
export interface SubscriptionRow {
  readonly session: number;
  readonly filter: string;
  readonly qos: QoS;
  readonly options: number;
  readonly identifier: number | null;
}
export interface QueueRow {
  readonly seq: number;
  readonly session: number;
  readonly packetId: number | null;
  readonly state: number;
  readonly qos: QoS;
  readonly size: number;
  readonly expiresAt: number | null;
  readonly share: string | null;
}
export interface QueuedRow {
  readonly seq: number;
  readonly retain: number;
  readonly topic: string;
  readonly payload: Buffer;
  readonly properties: Buffer | null;
  readonly expiresAt: number | null;
}
export interface RetainedRow {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly owner: string;
  readonly properties: Buffer | null;
  readonly expiresAt: number | null;
}
export interface WillRow {
  readonly clientId: string;
  readonly connection: string;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly identity: Identity | null;
  readonly properties: Uint8Array | null;
  /** How long its message is good for, ms; null: for ever. */
  readonly expiry: number | null;
  /** How long after the loss of the connection it is published, ms. */
  readonly delay: number;
  /** When it is; null while the client is connected. */
  readonly dueAt: number | null;
}

/** What a queued message counts for beside its payload and topic: row and bookkeeping. */
export const queuedOverheadBytes = 64;

const queueColumns = [
  ...['seq', 'session', 'packet_id', 'state', 'qos', 'retain'],
  ...['topic', 'payload'],
];
const queue = appendTable('mqtt_queue', queueColumns);
/** For copies that have more to them: every bound value costs, and most copies have none. */
const wholeQueue = appendTable('mqtt_queue', [
  ...queueColumns,
  ...['properties', 'expires_at', 'share'],
]);
const inbox = appendTable('mqtt_inbox', ['session', 'packet_id'], { onConflict: 'replace' });
const retained = appendTable(
  'mqtt_retained',
  ['topic', 'payload', 'qos', 'owner', 'properties', 'expires_at'],
  { onConflict: 'replace' },
);

export const saveSession = (row: SessionRow): Statement => ({
  sql: `INSERT INTO mqtt_sessions (key, client_id, device, last_seen_at, expiry, expires_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (client_id) DO UPDATE SET key = excluded.key, device = excluded.device, last_seen_at = excluded.last_seen_at,
      expiry = excluded.expiry, expires_at = excluded.expires_at`,
  params: [row.key, row.clientId, row.device, row.lastSeenAt, row.expiry, row.expiresAt],
});

export const removeSession = (key: number): Statement[] => [
  { sql: 'DELETE FROM mqtt_sessions WHERE key = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_subscriptions WHERE session = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_queue WHERE session = ?', params: [key] },
  { sql: 'DELETE FROM mqtt_inbox WHERE session = ?', params: [key] },
];

const noLocalBit = 1;
const retainAsPublishedBit = 2;

export const saveSubscription = (session: number, subscription: Subscription): Statement => {
  const { filter, qos, noLocal, retainAsPublished, identifier } = subscription;
  const options =
    (noLocal === true ? noLocalBit : 0) | (retainAsPublished === true ? retainAsPublishedBit : 0);
  return {
    sql: 'INSERT OR REPLACE INTO mqtt_subscriptions (session, filter, qos, options, identifier) VALUES (?, ?, ?, ?, ?)',
    params: [session, filter, qos, options, identifier ?? null],
  };
};

export const subscriptionFrom = (row: SubscriptionRow): Subscription => ({
  filter: row.filter,
  qos: row.qos,
  ...((row.options & noLocalBit) > 0 && { noLocal: true }),
  ...((row.options & retainAsPublishedBit) > 0 && { retainAsPublished: true }),
  ...(row.identifier !== null && { identifier: row.identifier }),
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
  readonly properties?: Uint8Array | undefined;
  readonly expiresAt?: number | undefined;
  readonly share?: string | undefined;
}): Append => {
  const { seq, session, packetId, qos, retain, topic, payload } = row;
  const { properties, expiresAt, share } = row;
  const retained = retain ? 1 : 0;
  if (properties === undefined && expiresAt === undefined && share === undefined) {
    return { into: queue, row: [seq, session, packetId, 0, qos, retained, topic, payload] };
  }
  const more = [properties ?? null, expiresAt ?? null, share ?? null];
  return {
    into: wholeQueue,
    row: [seq, session, packetId, 0, qos, retained, topic, payload, ...more],
  };
};

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
export const saveRetained = (row: {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly owner: string;
  readonly properties?: Uint8Array | undefined;
  readonly expiresAt?: number | undefined;
}): Append => ({
  into: retained,
  row: [
    row.topic,
    row.payload.length === 0 ? null : row.payload,
    row.qos,
    row.owner,
    row.properties ?? null,
    row.expiresAt ?? null,
  ],
});

export const saveWill = (will: WillRow): Statement => ({
  sql: `INSERT OR REPLACE INTO mqtt_wills
      (client_id, connection, topic, payload, qos, retain, identity, properties, expiry, delay, due_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  params: [
    will.clientId,
    will.connection,
    will.topic,
    will.payload,
    will.qos,
    will.retain ? 1 : 0,
    JSON.stringify(will.identity),
    will.properties,
    will.expiry,
    will.delay,
    will.dueAt,
  ],
});

/** From now on it waits for its time. */
export const saveWillDue = (clientId: string, connection: string, dueAt: number): Statement => ({
  sql: 'UPDATE mqtt_wills SET due_at = ? WHERE client_id = ? AND connection = ?',
  params: [dueAt, clientId, connection],
});

/** Of this connection only: the same client may be back already, with a will of its own. */
export const removeWill = (clientId: string, connection: string): Statement => ({
  sql: 'DELETE FROM mqtt_wills WHERE client_id = ? AND connection = ?',
  params: [clientId, connection],
});

export const saveElapsed = ({ elapsed, wall }: ElapsedRecord): Statement => ({
  sql: 'INSERT OR REPLACE INTO mqtt_time (id, elapsed, wall) VALUES (0, ?, ?)',
  params: [elapsed, wall],
});

/** The messages of these queue rows. */
export const readQueued = (
  store: Pick<Store, 'read'>,
  seqs: readonly number[],
): Promise<QueuedRow[]> =>
  store.read.all(
    'SELECT seq, retain, topic, payload, properties, expires_at AS expiresAt FROM mqtt_queue WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq',
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
