/** What the broker reads back on open. */
import type { Store } from '@holdfast/provisioning/storage/store';
import type { Identity } from '../trust/identity.js';
import {
  type QueueRow,
  queuedOverheadBytes,
  type RetainedRow,
  type SessionRow,
  type SubscriptionRow,
  type WillRow,
} from './broker-rows.js';
import type { ElapsedRecord } from './elapsed-time.js';

export interface BrokerRows {
  /** Of the last run; undefined for a store that no broker had before. */
  readonly elapsed: ElapsedRecord | undefined;
  readonly sessions: SessionRow[];
  readonly subscriptions: SubscriptionRow[];
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
    `SELECT client_id AS clientId, connection, topic, payload, qos, retain, identity, properties, expiry, delay,
      due_at AS dueAt FROM mqtt_wills`,
  );
  return {
    elapsed: await read.get('SELECT elapsed, wall FROM mqtt_time'),
    sessions: await read.all(
      `SELECT key, client_id AS clientId, device, last_seen_at AS lastSeenAt, expiry, expires_at AS expiresAt
        FROM mqtt_sessions`,
    ),
    subscriptions: await read.all(
      'SELECT session, filter, qos, options, identifier FROM mqtt_subscriptions',
    ),
    queue: await read.all(
      `SELECT seq, session, packet_id AS packetId, state, qos, expires_at AS expiresAt, share,
        length(payload) + length(CAST(topic AS BLOB)) + ifnull(length(properties), 0) + ${queuedOverheadBytes} AS size
        FROM mqtt_queue ORDER BY seq`,
    ),
    inbox: await read.all('SELECT session, packet_id AS packetId FROM mqtt_inbox'),
    retained: await read.all(
      'SELECT topic, payload, qos, owner, properties, expires_at AS expiresAt FROM mqtt_retained',
    ),
    wills: wills.map((will) => ({
      ...will,
      retain: will.retain === 1,
      // Written by `saveWill` from an Identity.
      identity: JSON.parse(will.identity) as Identity | null,
    })),
  };
};
