/** One client's connection: who it is, its stream, its session, and its place in the order of its own messages. */
import { randomUUID } from 'node:crypto';
import { authorise } from '../trust/authorise.js';
import type { Identity } from '../trust/identity.js';
import type { ClientStream } from './client-stream.js';
import { InOrder } from './in-order.js';
import type { Message } from './message.js';
import type { ConnectRefusal } from './protocol.js';
import { type PublishFields, publishHead, pubrel } from './publish-packet.js';
import type { Outlet, Session } from './session.js';
import { cleanSession, type SessionStart } from './session-registry.js';
import type { Will } from './wills.js';

/** How an MQTT 5 client is written to. */
export interface Mqtt5Outlet extends Pick<Outlet, 'receiveMaximum' | 'publish'> {
  /** The connection is about to be cut: tells the client why. */
  farewell(reason: string): void;
}

/** Without a word of the client's (MQTT 5, 3.1.2.11.3). */
const maxReceiveMaximum = 65_535;

export class Connection implements Outlet {
  readonly id: string = randomUUID();
  readonly stream: ClientStream;
  /** Known before CONNECT on the device listener, with it on that of services. */
  identity: Identity | undefined;
  /** As the client gave it. */
  clientId = '';
  /** As its session is known: a service's lie apart, so that no id of its choosing is a device's. */
  sessionName = '';
  /** To be called once the client is known. */
  readonly entered: () => void;
  session: Session | undefined;
  will: Will | undefined;
  /** What the connection does otherwise when its client speaks MQTT 5. */
  mqtt5: Mqtt5Outlet | undefined;
  /** How it begins, as its CONNECT has it. */
  start: SessionStart = cleanSession;
  /** Why CONNECT is refused, whoever it is. */
  refusal: ConnectRefusal | undefined;
  /** Its session was there before. */
  isResumed = false;
  isReady = false;
  /** The connection that took its session over, and those it took its own from: their end is told once it is there itself. */
  heir: Connection | undefined;
  readonly predecessors: Connection[] = [];
  hasFailed = false;
  readonly decided = new InOrder();
  readonly stored = new InOrder();

  constructor(stream: ClientStream, identity: Identity | undefined, entered: () => void) {
    this.stream = stream;
    this.entered = entered;
    this.identity = identity;
  }

  get device(): string | undefined {
    return this.identity?.kind === 'device' ? this.identity.device : undefined;
  }

  /** Whose retained quota its messages count against. */
  get owner(): string {
    return this.identity === undefined ? '' : ownerOf(this.identity);
  }

  get isCongested(): boolean {
    return this.stream.isCongested;
  }

  get receiveMaximum(): number {
    return this.mqtt5?.receiveMaximum ?? maxReceiveMaximum;
  }

  publish(fields: PublishFields): boolean {
    if (this.mqtt5 !== undefined) return this.mqtt5.publish(fields);
    this.stream.send(publishHead(fields), fields.payload);
    return true;
  }

  publishOnce(message: Message, head?: Uint8Array): boolean {
    if (this.mqtt5 === undefined && head !== undefined) {
      this.stream.send(head, message.payload);
      return true;
    }
    return this.publish({ ...message, qos: 0, dup: false });
  }

  release(packetId: number): void {
    // A PUBREL without a reason is the same in MQTT 5.
    this.stream.send(pubrel(packetId));
  }

  mayReceive(topic: string): boolean {
    return this.identity !== undefined && authorise(this.identity, 'receive', topic).allowed;
  }

  cut(reason: string): void {
    this.stream.cut(reason);
  }
}

export const ownerOf = (identity: Identity): string =>
  identity.kind === 'device' ? `device:${identity.device}` : `service:${identity.name}`;
