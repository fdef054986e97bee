/** The site's MQTT broker behind an interface of ours: what it acknowledges is on disk, and no client waits for another. */
import type { TLSSocket, TlsOptions } from 'node:tls';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Identity, Refusal } from '../trust/identity.js';

export type QoS = 0 | 1 | 2;

/** What the gateway sends; `qos` is the most a subscriber gets it with. */
export interface OutboundMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain?: boolean;
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
    | 'SESSION_EVICTED';
}

export interface BrokerDependencies {
  /** The site's store, with `brokerMigration` applied. */
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly log: StoreLog;
  readonly now: () => number;
  /** Who holds the certificate of a TLS connection; called on every connection, resumed ones too. */
  readonly identify: (socket: TLSSocket) => Identity | Refusal | Promise<Identity | Refusal>;
  /** Who a service of this machine is; undefined when name or password is wrong. */
  readonly authenticateService?: (
    user: string,
    password: Uint8Array,
  ) => Promise<Identity | undefined>;
  /**
   * Takes a client's publish. It resolves once what the door owes is committed; a Write it returns is committed together with the
   * broker's own copies. Rejecting means "not now": the message is not acknowledged and the client is disconnected, so that it resends.
   * Called in the order of the client's publishes; a QoS 2 message once.
   */
  readonly handle: (message: InboundMessage) => Promise<Write | undefined>;
  readonly onSession?: (event: SessionEvent) => void;
  readonly onDropped?: (event: DropEvent) => void;
}

export interface BrokerOptions {
  /** The listener for devices, 8883; the certificate must come with `tls`. */
  readonly mqtts?: { readonly host?: string; readonly port: number; readonly tls: TlsOptions };
  /** The listener for services of this machine, 127.0.0.1 only. */
  readonly services?: { readonly port: number };
}

export interface Broker {
  readonly ports: { readonly mqtts?: number; readonly services?: number };
  /** Resolves after every copy owed (retained, queued) is committed. STORE_FULL and the like when it could not be. */
  publish(message: OutboundMessage): Promise<void>;
  /** Cuts every connection of a device; its sessions stay. */
  disconnect(deviceId: string, reason: string): void;
  connectedDevices(): string[];
  /** Takes a renewed server certificate; connections stay. */
  renewCertificate(tls: TlsOptions): void;
  close(): Promise<void>;
}

/** Opens the listeners, once the sessions are read back and the wills of connections that a crash cut are published. */
export async function openBroker(
  _dependencies: BrokerDependencies,
  _options: BrokerOptions,
): Promise<Broker> {
  throw new HoldfastError('INTERNAL', 'not yet built');
}
