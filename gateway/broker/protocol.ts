/**
 * The one file that knows Aedes. It parses packets, keeps the handshakes of CONNECT, SUBSCRIBE and the QoS levels, keepalive and wills;
 * deciding, storing and delivering messages are ours, so its own publishing is switched off.
 */
import type { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { Aedes, type AedesOptions, type Client } from 'aedes';
import type { ClientStream } from './client-stream.js';
import type { QoS } from './message.js';
import { cleanSession, lastingSession, type SessionStart } from './session-registry.js';
import {
  type LibraryClient,
  type LibraryPacket,
  type PersistenceDependencies,
  SitePersistence,
} from './site-persistence.js';
import type { Subscription } from './subscription-index.js';
import type { Will } from './wills.js';

/** What the protocol asks of the broker; `C` is the broker's connection. A rejected promise ends the connection. */
export interface ProtocolHooks<C> {
  /** CONNECT as it came. The answer is the name of the client's session. */
  onConnect(connection: C, connect: ConnectRequest): string;
  /**
   * Why it is refused, or undefined to accept. Rejects where that may be another time: then the connection ends without a CONNACK, since
   * there are clients that come back after a broken connection and never after a refusal (mqtt.js 5.16).
   */
  authenticate(
    connection: C,
    user?: string,
    password?: Uint8Array,
  ): Promise<ConnectRefusal | undefined>;
  /** Calls back, in the order of the client's messages, when the publish may be acknowledged. */
  publish(connection: C, message: PublishRequest, done: (error?: Error) => void): void;
  /** The client's connection ended without DISCONNECT. */
  will(connection: C): Promise<void>;
  /** Whether the subscription is granted; asked again for each one of a restored session. */
  subscribe(connection: C, subscription: Subscription): Promise<SubscribeOutcome>;
  /** SUBACK is sent: what is retained may follow. */
  subscribed(connection: C, subscription: Subscription): void;
  unsubscribed(connection: C, filters: string[]): void;
  storeWill(connection: C): Promise<void>;
  /** CONNACK is sent. */
  ready(connection: C): void;
  /** The connection ended; `isOrderly` after DISCONNECT. */
  gone(connection: C, isOrderly: boolean): void;
  failed(connection: C | undefined, error: unknown): void;
}

export interface ConnectRequest {
  readonly clientId: string;
  readonly start: SessionStart;
  /** A client without an id begins from nothing, or is refused. */
  readonly mustBeCleanWithoutId?: boolean;
  readonly username?: string;
  readonly will?: Will | undefined;
}
export type ConnectRefusal = 'CLIENT_ID' | 'CREDENTIALS' | 'NOT_AUTHORISED';
export type SubscribeOutcome =
  | 'GRANTED'
  | 'NOT_AUTHORISED'
  | 'FILTER_INVALID'
  | 'QUOTA_EXCEEDED'
  | 'SHARING_NOT_OFFERED';
export interface PublishRequest {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly messageId?: number | undefined;
  /** As of a Message. */
  readonly properties?: Uint8Array | undefined;
  readonly expiresAt?: number | undefined;
}

export interface Protocol<C> {
  accept(connection: C, stream: ClientStream): void;
  close(): Promise<void>;
}

const refusedGrant = 128;

/** As CONNACK says it (3.1.1, 3.2.2.3). */
const returnCodes: Record<ConnectRefusal, number> = {
  CLIENT_ID: 2,
  CREDENTIALS: 4,
  NOT_AUTHORISED: 5,
};

export async function openProtocol<C extends object>(
  deps: PersistenceDependencies,
  hooks: ProtocolHooks<C>,
): Promise<Protocol<C>> {
  const connections = new WeakMap<object, C>();
  const of = (client: object | null): C | undefined =>
    client === null ? undefined : connections.get(client);

  const options: AedesOptions = {
    id: 'holdfast',
    // Its emitter is not used; with the default of 100 it overflows the stack under load.
    concurrency: 0,
    mq: unusedEmitter,
    persistence: new ConnectedPersistence(deps, (client) => {
      const connection = of(client);
      return connection === undefined ? Promise.resolve() : hooks.storeWill(connection);
    }),
    // The stream has its own, from the moment the socket is there.
    connectTimeout: 2 ** 31 - 1,
    drainTimeout: 5_000,
    // Ids of services are prefixed, and for version 3.1 the library would count the prefix.
    maxClientsIdLength: 256,
    // Bounded by the broker, before anything is handled.
    maxInflightInbound: 0,
    preConnect: (client, packet, callback) => {
      const connection = of(client);
      if (connection !== undefined) {
        // A CONNECT, of which its type leaves out all that matters.
        const connect = packet as LibraryConnect;
        connect.clientId = hooks.onConnect(connection, requestOf(connect));
      }
      callback(null, connection !== undefined);
    },
    authenticate: (client, user, password, callback) => {
      const connection = of(client);
      if (connection === undefined) return callback(refusal('NOT_AUTHORISED'), false);
      hooks.authenticate(connection, user, password).then(
        (why) => (why === undefined ? callback(null, true) : callback(refusal(why), false)),
        (error: unknown) => {
          hooks.failed(connection, error);
          client.conn.destroy();
          callback(asError(error) as ReturnType<typeof refusal>, false);
        },
      );
    },
    authorizePublish: (client, packet, callback) => {
      const connection = of(client);
      if (connection === undefined) return callback(new Error('nobody publishes'));
      if (packet === willOf(client)) {
        hooks.will(connection).then(
          () => callback(),
          (error: unknown) => callback(asError(error)),
        );
        return;
      }
      hooks.publish(connection, publishOf(packet as LibraryPacket), callback);
    },
    authorizeSubscribe: (client, subscription, callback) => {
      const connection = of(client);
      if (connection === undefined) return callback(null, null);
      const { topic: filter, qos } = subscription;
      hooks.subscribe(connection, { filter, qos }).then(
        (outcome) => callback(null, outcome === 'GRANTED' ? subscription : null),
        (error: unknown) => callback(asError(error)),
      );
    },
  };

  const library = new SilentAedes(options);
  library.on('clientReady', (client) => {
    const connection = of(client);
    if (connection !== undefined) hooks.ready(connection);
  });
  library.on('subscribe', (subscriptions, client) => {
    const connection = of(client);
    if (connection === undefined) return;
    for (const { topic, qos } of subscriptions) {
      if (Number(qos) !== refusedGrant) hooks.subscribed(connection, { filter: topic, qos });
    }
  });
  library.on('unsubscribe', (filters, client) => {
    const connection = of(client);
    if (connection !== undefined && !client.closed) hooks.unsubscribed(connection, filters);
  });
  library.on('clientError', (client, error) => hooks.failed(of(client), error));
  library.on('connectionError', (client, error) => hooks.failed(of(client), error));
  // Its types leave the event out; without a listener it would end the program.
  (library as EventEmitter).on('error', (error: unknown) =>
    hooks.failed(undefined, asError(error)),
  );
  await library.listen();

  return {
    accept: (connection, stream) => {
      const client = library.handle(stream);
      connections.set(client, connection);
      stream.on('publishes', () => keepAlive(client));
      stream.once('close', () => hooks.gone(connection, isOrderly(client)));
    },
    close: () => new Promise((resolve) => library.close(() => resolve())),
  };
}

/** Publishes nothing: every message goes through the broker's router, and the library's own `$SYS` topics to nobody. */
class SilentAedes extends Aedes {
  override publish(...args: unknown[]): void {
    const done = args.at(-1);
    if (typeof done === 'function') done(null);
  }
}

/** What the broker has done by the time the library would do it is left out. */
class ConnectedPersistence extends SitePersistence {
  readonly #storeWill: (client: object) => Promise<void>;

  constructor(deps: PersistenceDependencies, storeWill: (client: object) => Promise<void>) {
    super(deps);
    this.#storeWill = storeWill;
  }

  /** Subscriptions are stored one by one when they are granted; the library would store refused ones too. */
  override addSubscriptions(): Promise<void> {
    return Promise.resolve();
  }

  /** A clean session was begun when the client was authenticated; by now this would be the new one. */
  override cleanSubscriptions(): Promise<void> {
    return Promise.resolve();
  }

  override cleanIncoming(): Promise<void> {
    return Promise.resolve();
  }

  /** Sessions send these themselves, in their windows and with the right QoS. */
  override createRetainedStreamCombi(): Readable {
    return Readable.from([]);
  }

  override outgoingStream(): Readable {
    return Readable.from([]);
  }

  override putWill(client: LibraryClient): Promise<void> {
    return this.#storeWill(client);
  }

  /** A will is removed with its publication, or after DISCONNECT, by connection and not by client. */
  override delWill(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  override streamWill(): Readable {
    return Readable.from([]);
  }
}

const unusedEmitter = {
  on: (_topic: string, _listener: unknown, done?: () => void): void => done?.(),
  removeListener: (_topic: string, _listener: unknown, done?: () => void): void => done?.(),
  emit: (_packet: unknown, done?: () => void): void => done?.(),
  close: (done: () => void): void => done(),
};

/** Members of the library's client that its types leave out (1.2.0, pinned). */
interface ClientInternals {
  readonly will?: unknown;
  readonly _disconnected?: boolean;
  readonly _keepaliveTimer?: NodeJS.Timeout | null;
}
const willOf = (client: Client | null): unknown => (client as ClientInternals | null)?.will;
const isOrderly = (client: Client): boolean => (client as ClientInternals)._disconnected === true;
/** What the library does itself for every packet it sees. */
const keepAlive = (client: Client): void => {
  (client as ClientInternals)._keepaliveTimer?.refresh();
};

const refusal = (why: ConnectRefusal): Error & { returnCode: number } =>
  Object.assign(new Error(`refused: ${why}`), { returnCode: returnCodes[why] });

interface LibraryConnect {
  clientId: string;
  readonly clean?: boolean;
  readonly username?: string;
  readonly will?: {
    readonly topic?: string;
    readonly payload?: Uint8Array;
    readonly qos?: QoS;
    readonly retain?: boolean;
  };
}

const publishOf = (packet: LibraryPacket): PublishRequest => ({
  topic: packet.topic ?? '',
  payload: packet.payload ?? Buffer.alloc(0),
  qos: packet.qos ?? 0,
  retain: packet.retain ?? false,
  ...(packet.messageId !== undefined && { messageId: packet.messageId }),
});

const requestOf = ({ clientId, clean, username, will }: LibraryConnect): ConnectRequest => ({
  clientId,
  start: clean === true ? cleanSession : lastingSession,
  mustBeCleanWithoutId: true,
  ...(username !== undefined && { username }),
  ...(will !== undefined && {
    will: {
      topic: will.topic ?? '',
      payload: will.payload ?? Buffer.alloc(0),
      qos: will.qos ?? 0,
      retain: will.retain ?? false,
    },
  }),
});

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));
