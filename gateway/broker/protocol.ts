/**
 * The one file that knows Aedes. It parses packets, keeps the handshakes of CONNECT, SUBSCRIBE and the QoS levels, keepalive and wills;
 * deciding, storing and delivering messages are ours, so its own publishing is switched off.
 */
import type { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { Aedes, type AedesOptions, type Client } from 'aedes';
import type { ClientStream } from './client-stream.js';
import type { QoS } from './message.js';
import {
  type LibraryClient,
  type LibraryWill,
  type PersistenceDependencies,
  SitePersistence,
} from './site-persistence.js';

/** What the protocol asks of the broker; `C` is the broker's connection. A rejected promise ends the connection. */
export interface ProtocolHooks<C> {
  /** CONNECT as it came; may give the client another id. */
  onConnect(connection: C, connect: ConnectRequest): void;
  /** The return code of a refusal, or undefined to accept. */
  authenticate(
    connection: C,
    clientId: string,
    isClean: boolean,
    user?: string,
    password?: Uint8Array,
  ): Promise<number | undefined>;
  /** Calls back, in the order of the client's messages, when the publish may be acknowledged. */
  publish(connection: C, message: PublishRequest, done: (error?: Error) => void): void;
  /** The client's connection ended without DISCONNECT. */
  will(connection: C): Promise<void>;
  /** Whether the subscription is granted; asked again for each one of a restored session. */
  subscribe(connection: C, filter: string, qos: QoS): Promise<boolean>;
  /** SUBACK is sent. */
  subscribed(connection: C, filter: string, qos: QoS): void;
  unsubscribed(connection: C, filters: string[]): void;
  storeWill(connection: C, will: LibraryWill): Promise<void>;
  /** CONNACK is sent. */
  ready(connection: C): void;
  /** The connection ended; `isOrderly` after DISCONNECT. */
  gone(connection: C, isOrderly: boolean): void;
  failed(connection: C | undefined, error: Error): void;
}

export interface ConnectRequest {
  clientId: string;
  readonly clean?: boolean;
  readonly username?: string;
  readonly will?: LibraryWill;
}
export interface PublishRequest {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly messageId?: number;
}

export interface Protocol<C> {
  accept(connection: C, stream: ClientStream): void;
  close(): Promise<void>;
}

const refusedGrant = 128;

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
    persistence: new ConnectedPersistence(deps, (client, will) => {
      const connection = of(client);
      return connection === undefined ? Promise.resolve() : hooks.storeWill(connection, will);
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
      if (connection !== undefined) hooks.onConnect(connection, packet as ConnectRequest);
      callback(null, connection !== undefined);
    },
    authenticate: (client, user, password, callback) => {
      const connection = of(client);
      if (connection === undefined) return callback(refusal(5), false);
      hooks.authenticate(connection, client.id, client.clean, user, password).then(
        (code) => (code === undefined ? callback(null, true) : callback(refusal(code), false)),
        (error: unknown) => {
          hooks.failed(connection, asError(error));
          callback(refusal(3), false);
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
      hooks.publish(connection, packet as PublishRequest, callback);
    },
    authorizeSubscribe: (client, subscription, callback) => {
      const connection = of(client);
      if (connection === undefined) return callback(null, null);
      hooks.subscribe(connection, subscription.topic, subscription.qos).then(
        (isGranted) => callback(null, isGranted ? subscription : null),
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
      if (Number(qos) !== refusedGrant) hooks.subscribed(connection, topic, qos);
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
  readonly #storeWill: (client: object, will: LibraryWill) => Promise<void>;

  constructor(
    deps: PersistenceDependencies,
    storeWill: (client: object, will: LibraryWill) => Promise<void>,
  ) {
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

  override putWill(client: LibraryClient, will: LibraryWill): Promise<void> {
    return this.#storeWill(client, will);
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

const refusal = (returnCode: number): Error & { returnCode: number } =>
  Object.assign(new Error(`refused with ${returnCode}`), { returnCode });

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));
