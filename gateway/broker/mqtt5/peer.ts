/** What the parts of an MQTT 5 client share: its connection, how it is answered, and how it is left. */
import type { Connection } from '../connection.js';
import type { ProtocolHooks } from '../protocol.js';
import type { SessionRegistry } from '../session-registry.js';
import type { Reason } from './reason.js';

export interface Mqtt5Dependencies {
  readonly hooks: ProtocolHooks<Connection>;
  readonly sessions: SessionRegistry;
  /** The broker's elapsed time. */
  readonly now: () => number;
}

export interface Peer {
  readonly connection: Connection;
  answer(packet: Buffer): void;
  /** Ends the connection with a reason. */
  leave(code: Reason, why: string): void;
}
