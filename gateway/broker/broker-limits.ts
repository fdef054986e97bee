/** Every bound of the broker in one place. Sizes in bytes, times in ms. */
import type { ClientStreamOptions } from './client-stream.js';
import type { DoormanOptions } from './doorman.js';
import type { Mqtt5Limits } from './mqtt5/connect.js';
import type { RetainedQuota } from './retained-store.js';
import type { RegistryLimits } from './session-registry.js';

export interface BrokerLimits extends RegistryLimits {
  readonly stream: ClientStreamOptions;
  readonly handshakeTimeoutMs: number;
  readonly doorman: DoormanOptions;
  /** Publishes being worked on, of all clients together. */
  readonly maxInflightBytes: number;
  /** QoS 2 messages of one client whose PUBREL has not come. */
  readonly maxInbox: number;
  readonly mqtt5: Omit<Mqtt5Limits, 'maxPacketBytes'>;
  readonly connectionsPerDevice: number;
  readonly deviceRetained: RetainedQuota;
  /** Of one service, or of the gateway itself. */
  readonly otherRetained: RetainedQuota;
}

const kib = 1_024;
const mib = 1_024 * kib;

const session = { maxInflight: 128, maxHeldBytes: 256 * kib, patienceMs: 100 };

export const defaultLimits: BrokerLimits = {
  stream: {
    maxConnectBytes: 64 * kib,
    maxPacketBytes: 256 * kib,
    connectTimeoutMs: 10_000,
    maxBatchBytes: 64 * kib,
    maxBatchPackets: 128,
    congestedBytes: 256 * kib,
    maxPendingBytes: mib,
    drainTimeoutMs: 5_000,
  },
  handshakeTimeoutMs: 10_000,
  doorman: { maxEntering: 64, maxWaiting: 4_096, waitTimeoutMs: 20_000 },
  maxInflightBytes: 32 * mib,
  maxInbox: 1_000,
  mqtt5: {
    receiveMaximum: 128,
    topicAliasMaximum: 32,
    maxKeepaliveS: 0,
    maxUserProperties: 64,
    maxPropertiesBytes: 8 * kib,
  },
  deviceSession: { ...session, maxMessages: 1_000, maxBytes: mib },
  serviceSession: { ...session, maxMessages: 20_000, maxBytes: 16 * mib },
  sessionsPerDevice: 8,
  sessionsPerService: 64,
  connectionsPerDevice: 16,
  subscriptionsPerSession: 200,
  maxSessionExpiryMs: Number.POSITIVE_INFINITY,
  shared: { maxGroups: 1_000, maxMembers: 256 },
  deviceRetained: { maxMessages: 100, maxBytes: 256 * kib },
  otherRetained: { maxMessages: 100_000, maxBytes: 64 * mib },
};

/** The defaults but for what is configured; 0 bounds nothing. */
export const configuredLimits = (mqtt: {
  readonly maxSessionExpiryMs: number;
  readonly maxKeepaliveMs: number;
}): Pick<BrokerLimits, 'maxSessionExpiryMs' | 'mqtt5'> => ({
  maxSessionExpiryMs: mqtt.maxSessionExpiryMs || defaultLimits.maxSessionExpiryMs,
  mqtt5: { ...defaultLimits.mqtt5, maxKeepaliveS: Math.ceil(mqtt.maxKeepaliveMs / 1_000) },
});
