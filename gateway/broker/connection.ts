/** One client's connection: who it is, its stream, its session, and its place in the order of its own messages. */
import { randomUUID } from 'node:crypto';
import { authorise } from '../trust/authorise.js';
import type { Identity } from '../trust/identity.js';
import type { ClientStream } from './client-stream.js';
import { InOrder } from './in-order.js';
import type { Outlet, Session } from './session.js';
import type { LibraryWill } from './site-persistence.js';

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
  /** The will object of its CONNECT: the library hands it over by identity when it is due. */
  will: LibraryWill | undefined;
  /** Why CONNECT will be refused: the return code. */
  refusal: 2 | 3 | 4 | 5 | undefined;
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

  send(head: Uint8Array, payload?: Uint8Array): void {
    this.stream.send(head, payload);
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
