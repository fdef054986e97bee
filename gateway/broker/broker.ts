/** The site's MQTT broker behind an interface of ours: what it acknowledges is on disk, and no client waits for another. */
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Wait } from '@holdfast/provisioning/time/wait';
import type { AccessRefusal } from '../trust/access-log.js';
import type { Identity, Refusal } from '../trust/identity.js';
import { isCovered } from '../trust/topic-filter.js';
import { type BrokerLimits, defaultLimits } from './broker-limits.js';
import { saveElapsed } from './broker-rows.js';
import { ClientDesk } from './client-desk.js';
import { DropReport } from './drop-report.js';
import { ElapsedTime } from './elapsed-time.js';
import { type Listener, listenPlain, listenTls, type TlsListener } from './listeners.js';
import { loadBrokerRows } from './load-broker-rows.js';
import type { QoS } from './message.js';
import { openProtocols } from './protocols.js';
import { openRetained } from './retained-store.js';
import { Router } from './router.js';
import { SessionRegistry } from './session-registry.js';

/** What the gateway sends; `qos` is the most a subscriber gets it with. */
export interface OutboundMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain?: boolean;
  /** The id of the one client that gets it, subscribed or not; nobody does when that is not connected. Never retained. */
  readonly to?: string;
}

/** A publish of a client, authorised and not yet acknowledged. */
export interface InboundMessage {
  readonly identity: Identity;
  readonly clientId: string;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** New with every connection: tells what a device said before a restart of its own from after. */
  readonly sessionId: string;
}

export interface SessionEvent {
  readonly device: string;
  readonly clientId: string;
  readonly sessionId: string;
  readonly connected: boolean;
  readonly at: number;
}

/** A device's client has a subscription that it had not, or has it anew. */
export interface SubscribedEvent {
  readonly device: string;
  readonly filter: string;
}

/** What a bound cost somebody: told, never silent. */
export interface DropEvent {
  readonly clientId: string;
  readonly count: number;
  readonly bytes: number;
  readonly reason:
    | 'QUEUE_FULL'
    | 'RETAINED_QUOTA'
    | 'SUBSCRIBER_SLOW'
    | 'NOT_AUTHORISED'
    | 'EXPIRED'
    | 'PACKET_TOO_LARGE'
    | 'SESSION_EVICTED'
    | 'SESSION_EXPIRED'
    | 'DEVICE_GONE';
}

export interface BrokerDependencies {
  /** The site's store, with the tables of `brokerSchema`. */
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly log: StoreLog;
  readonly clock: Clock;
  /** What sessions, messages and wills wait with for their time; real time by default. */
  readonly wait?: Wait;
  /** Who holds the certificate of a TLS connection; called on every connection, resumed ones too. */
  readonly identify: (socket: TLSSocket) => Identity | Refusal | Promise<Identity | Refusal>;
  /** Who a service of this machine is; undefined when name or password is wrong. */
  readonly authenticateService?: (
    user: string,
    password: Uint8Array,
  ) => Promise<Identity | undefined>;
  /**
   * Takes a client's publish. It resolves once what the door owes is committed (undefined: nothing is); a Write it returns is committed
   * together with the broker's own copies. Rejecting or throwing means "not now": the message is not acknowledged and the client is
   * disconnected, so that it resends. Called in the order of the client's publishes; a QoS 2 message once.
   */
  readonly handle: (message: InboundMessage) => Promise<Write | undefined> | undefined;
  readonly onSession?: (event: SessionEvent) => void;
  readonly onSubscribed?: (event: SubscribedEvent) => void;
  readonly onDropped?: (event: DropEvent) => void;
  readonly onRefused?: (refusal: AccessRefusal) => void;
}

export interface BrokerOptions {
  /** The listener for devices, 8883; the certificate must come with `tls`. */
  readonly mqtts?: {
    readonly host?: string;
    readonly port: number;
    readonly tls: SecureContextOptions;
  };
  /** The listener for services of this machine, 127.0.0.1 only. */
  readonly services?: { readonly port: number };
  readonly limits?: Partial<BrokerLimits>;
}

export interface Broker {
  readonly ports: { readonly mqtts?: number; readonly services?: number };
  /** Resolves after every copy owed (retained, queued) is committed. STORE_FULL and the like when it could not be. */
  publish(message: OutboundMessage): Promise<void>;
  /** Whether a session, connected or not, is subscribed to the topic: what nobody hears need not be made. */
  isHeard(topic: string): boolean;
  /** Whether this very device's client is there and subscribed to the topic. */
  hears(clientId: string, topic: string): boolean;
  /** Cuts every connection of a device; its sessions stay. */
  disconnect(deviceId: string, reason: string): void;
  /** Cuts the connections of those who hold no longer, by their certificate; sessions and what waits in them stay. */
  cut(isToGo: (identity: Identity) => boolean, reason: string): void;
  /** Cuts a device that will not come back, and drops its sessions with all that waits in them, and what its topics retained. */
  forget(deviceId: string, reason: string): Promise<void>;
  connectedDevices(): string[];
  /** Takes a renewed server certificate; connections stay. */
  renewCertificate(tls: SecureContextOptions): void;
  close(): Promise<void>;
}

/** How often it is noted how much time has passed: all that a crash can take of it where nobody knows the time. */
const recordEveryMs = 600_000;

/** Opens the listeners, once the sessions are read back and the wills of connections that a crash cut are published. */
export async function openBroker(
  dependencies: BrokerDependencies,
  options: BrokerOptions,
): Promise<Broker> {
  const { store, log, clock, wait } = dependencies;
  const limits: BrokerLimits = { ...defaultLimits, ...options.limits };
  const drops = new DropReport((event) => log.warn({ ...event }, 'messages were dropped'));
  const onDropped = (event: DropEvent): void => {
    drops.add(event);
    dependencies.onDropped?.(event);
  };
  const rows = await loadBrokerRows(store);
  const time = new ElapsedTime(clock, rows.elapsed);
  const { now: elapsed } = time;
  const timing = { elapsed, ...(wait !== undefined && { wait }) };
  const sessions = new SessionRegistry(
    { ...{ store, log, onDropped, now: () => clock.now() }, ...timing },
    limits,
  );
  const retained = openRetained({ store, log, onDropped, ...timing }, limits);
  sessions.restore(rows);
  for (const row of rows.retained) retained.restore(row);
  const router = new Router({ sessions, retained, store }, onDropped);
  const desk = new ClientDesk({ ...dependencies, sessions, router, elapsed }, limits);
  await desk.restoreWills(rows.wills);
  const protocol = await openProtocols(
    { persistence: { store, sessions, retained }, sessions, hooks: desk, now: elapsed },
    { ...limits.mqtt5, maxPacketBytes: limits.stream.maxPacketBytes },
  );
  const recording = setInterval(() => void record(), recordEveryMs).unref();
  const record = (): Promise<void> =>
    store.commits
      .commit([saveElapsed(time.record())])
      .catch((error: unknown) => log.warn({ reason: messageOf(error) }, 'time was not stored'));
  await record();

  const onError = (error: Error): void => log.error({ err: error }, 'an MQTT listener failed');
  const listeners: Listener[] = [];
  let mqtts: TlsListener | undefined;
  let services: Listener | undefined;
  const close = async (): Promise<void> => {
    const closing = listeners.splice(0).map((listener) => listener.close());
    clearInterval(recording);
    await desk.close();
    await protocol.close();
    await Promise.all(closing);
    await sessions.close();
    retained.close();
    await record();
    drops.flush();
  };
  try {
    if (options.mqtts !== undefined) {
      const { host = '0.0.0.0', port, tls } = options.mqtts;
      const { handshakeTimeoutMs, doorman } = limits;
      mqtts = await listenTls(
        { host, port },
        { tls, handshakeTimeoutMs, doorman, onError },
        (socket, entered) => {
          void desk.enterDevice(socket, entered, protocol);
        },
      );
      listeners.push(mqtts);
    }
    if (options.services !== undefined) {
      const address = { host: '127.0.0.1', port: options.services.port };
      const { doorman } = limits;
      services = await listenPlain(address, { doorman, onError }, (socket, entered) => {
        desk.enter(socket, undefined, entered, protocol);
      });
      listeners.push(services);
    }
  } catch (error) {
    await close();
    throw error;
  }

  let closed: Promise<void> | undefined;
  return {
    ports: {
      ...(mqtts === undefined ? {} : { mqtts: mqtts.port }),
      ...(services === undefined ? {} : { services: services.port }),
    },
    publish: async ({ topic, payload, qos, to, retain = false }) => {
      if (closed !== undefined)
        throw new HoldfastError('STORE_UNAVAILABLE', 'The broker is closing');
      const message = { topic, payload, qos, retain: retain && to === undefined };
      await router.route(message, 'gateway', 'gateway', { to });
    },
    isHeard: (topic) =>
      sessions.index.subscribersOf(topic).length > 0 || sessions.groups.matching(topic).length > 0,
    hears: (clientId, topic) => {
      const session = sessions.get(clientId);
      if (session?.outlet === undefined) return false;
      return [...session.subscriptions.keys()].some((filter) => isCovered(topic, filter));
    },
    disconnect: (deviceId, reason) => desk.disconnect(deviceId, reason),
    cut: (isToGo, reason) => desk.cut(isToGo, reason),
    forget: async (deviceId, reason) => {
      desk.disconnect(deviceId, reason);
      await sessions.forgetDevice(deviceId);
      await desk.forgetWills(deviceId);
      await store.commits.commit(retained.forget(`device:${deviceId}`));
    },
    connectedDevices: () => desk.connectedDevices(),
    renewCertificate: (tls) => mqtts?.renewCertificate(tls),
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}
