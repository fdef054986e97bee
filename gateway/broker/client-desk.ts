/** Where every client's wish is decided: who it is, which session it has, what it may do. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { authorise, type TopicVerb } from '../trust/authorise.js';
import { anonymous, type Identity } from '../trust/identity.js';
import type { BrokerDependencies } from './broker.js';
import type { BrokerLimits } from './broker-limits.js';
import { removeWill, saveWill, type WillRow } from './broker-rows.js';
import { ClientStream } from './client-stream.js';
import { Connection, ownerOf } from './connection.js';
import { Inbound } from './inbound.js';
import { InflightBudget } from './inflight-budget.js';
import type { Message, QoS } from './message.js';
import type { ConnectRequest, Protocol, ProtocolHooks, PublishRequest } from './protocol.js';
import type { Router } from './router.js';
import type { SessionRegistry } from './session-registry.js';
import type { LibraryWill } from './site-persistence.js';
import { TurnFlush } from './turn-flush.js';

export interface DeskDependencies extends BrokerDependencies {
  readonly sessions: SessionRegistry;
  readonly router: Router;
}

export class ClientDesk implements ProtocolHooks<Connection> {
  readonly #deps: DeskDependencies;
  readonly #limits: BrokerLimits;
  readonly #shared: { readonly budget: InflightBudget; readonly flush: TurnFlush };
  readonly #inbound: Inbound;
  readonly #connections = new Set<Connection>();
  readonly #byDevice = new Map<string, Set<Connection>>();
  #isClosing = false;

  constructor(deps: DeskDependencies, limits: BrokerLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#inbound = new Inbound(deps, limits.maxInbox);
    this.#shared = { budget: new InflightBudget(limits.maxInflightBytes), flush: new TurnFlush() };
  }

  /** A TLS connection: refused, or a device's. */
  async enterDevice(
    socket: TLSSocket,
    entered: () => void,
    protocol: Protocol<Connection>,
  ): Promise<void> {
    try {
      const found = this.#deps.identify(socket);
      // Without a turn in between, in which it could be revoked and nobody would know of this connection.
      const identity = found instanceof Promise ? await found : found;
      if (identity.kind === 'device') return this.enter(socket, identity, entered, protocol);
      const reason = identity.kind === 'refused' ? identity.reason : 'not a device';
      this.#deps.log.warn({ peer: socket.remoteAddress, reason }, 'a connection was refused');
      this.#deps.onRefused?.({
        who: anonymous,
        verb: 'connect',
        what: socket.remoteAddress ?? '',
        reason: 'CERTIFICATE_NEEDED',
      });
    } catch (error) {
      this.#deps.log.warn(
        { peer: socket.remoteAddress, reason: messageOf(error) },
        'a connection was refused',
      );
    }
    socket.destroy();
  }

  enter(
    socket: Socket,
    identity: Identity | undefined,
    entered: () => void,
    protocol: Protocol<Connection>,
  ): void {
    if (this.#isClosing || socket.destroyed) {
      socket.destroy();
      return;
    }
    const stream = new ClientStream(socket, this.#shared, this.#limits.stream, {
      onDrain: () => connection.session?.pump(),
      onCut: (reason) => {
        const { clientId } = connection;
        this.#deps.log.warn({ clientId, peer: socket.remoteAddress, reason }, 'a client was cut');
      },
      onPublish: (message, done) => this.#inbound.take(connection, message, done),
      onFailed: (error) => this.failed(connection, error),
    });
    const connection = new Connection(stream, identity, entered);
    this.#connections.add(connection);
    if (connection.device !== undefined) {
      const others = this.#byDevice.get(connection.device) ?? new Set();
      this.#byDevice.set(connection.device, others.add(connection));
    }
    protocol.accept(connection, stream);
  }

  disconnect(device: string, reason: string): void {
    for (const connection of [...(this.#byDevice.get(device) ?? [])]) connection.cut(reason);
  }

  cut(isToGo: (identity: Identity) => boolean, reason: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.identity !== undefined && isToGo(connection.identity)) connection.cut(reason);
    }
  }

  connectedDevices(): string[] {
    return [...this.#byDevice]
      .filter(([, connections]) => [...connections].some(({ isReady }) => isReady))
      .map(([device]) => device);
  }

  /** Cuts everybody; wills stay stored and are published by the next start. */
  close(): void {
    this.#isClosing = true;
    for (const connection of [...this.#connections]) connection.cut('BROKER_CLOSING');
  }

  onConnect(connection: Connection, connect: ConnectRequest): void {
    connection.will = connect.will;
    const { device } = connection;
    const asked = connect.clientId;
    // An id the broker gives out cannot name a session to come back to (3.1.1, 3.1.3.1).
    if (asked === '' && connect.clean !== true) connection.refusal = 2;
    if (device !== undefined) {
      connection.clientId = asked === '' ? `${device}:${connection.id}` : asked;
      connection.sessionName = connection.clientId;
    } else {
      const user = connect.username ?? '';
      connection.clientId = asked === '' ? connection.id : asked;
      connection.sessionName = `service/${user}/${connection.clientId}`;
    }
    connect.clientId = connection.sessionName;
  }

  async authenticate(
    connection: Connection,
    _clientId: string,
    isClean: boolean,
    user?: string,
    password?: Uint8Array,
  ): Promise<number | undefined> {
    connection.identity ??= await this.#deps.authenticateService?.(
      user ?? '',
      password ?? new Uint8Array(),
    );
    const { identity, device, will, refusal } = connection;
    if (identity === undefined) return 4;
    if (refusal !== undefined) return refusal;
    if (!this.#may(identity, 'connect', connection.clientId)) return 2;
    if (this.#isClosing || connection.stream.destroyed) return 3;
    if (will !== undefined && !this.#may(identity, 'will', will.topic ?? '')) return 5;
    const others = device === undefined ? 0 : (this.#byDevice.get(device)?.size ?? 0);
    if (others > this.#limits.connectionsPerDevice) return 3;
    const { sessionName } = connection;
    const before = this.#deps.sessions.get(sessionName)?.holder;
    if (before instanceof Connection && before !== connection) before.heir = connection;
    connection.session = await this.#deps.sessions.claim(
      sessionName,
      device ?? null,
      isClean,
      connection,
    );
    if (!connection.stream.destroyed) return undefined;
    this.#leave(connection);
    return 3;
  }

  publish(connection: Connection, message: PublishRequest, done: (error?: Error) => void): void {
    this.#inbound.take(connection, message, done);
  }

  async will(connection: Connection): Promise<void> {
    const { will, identity, clientId } = connection;
    if (this.#isClosing || will === undefined || identity === undefined) return;
    await this.publishWill(
      {
        ...willMessage(will),
        clientId: connection.sessionName,
        connection: connection.id,
        identity,
      },
      clientId,
    );
  }

  /** Publishes a will and removes it, in one commit; it stays stored when that fails. */
  async publishWill(will: WillRow, clientId: string = will.clientId): Promise<void> {
    const { identity, topic, payload, qos, retain } = will;
    if (identity === null || !this.#may(identity, 'will', topic)) {
      // Its right is gone for good: kept, it would be asked for at every start.
      await this.#deps.store.commits
        .commit([removeWill(will.clientId, will.connection)])
        .catch((error: unknown) =>
          this.#deps.log.warn({ clientId, topic, reason: messageOf(error) }, 'a will stays stored'),
        );
      return;
    }
    const message: Message = { topic, payload, qos, retain };
    try {
      const write = await this.#deps.handle({
        ...message,
        identity,
        clientId,
        sessionId: will.connection,
      });
      const also = [...(write ?? []), removeWill(will.clientId, will.connection)];
      await this.#deps.router.route(message, ownerOf(identity), clientId, { also });
    } catch (error) {
      const isFinal = isHoldfastError(error) && !error.isRetryable;
      this.#deps.log.warn(
        { clientId, topic, reason: messageOf(error) },
        isFinal ? 'a will was refused' : 'a will waits for the next start',
      );
      if (isFinal) {
        await this.#deps.store.commits.commit([removeWill(will.clientId, will.connection)]);
      }
    }
  }

  async storeWill(connection: Connection, will: LibraryWill): Promise<void> {
    if (connection.identity === undefined) return;
    const { id, identity } = connection;
    await this.#deps.store.commits.commit([
      saveWill({
        ...willMessage(will),
        clientId: connection.sessionName,
        connection: id,
        identity,
      }),
    ]);
  }

  async subscribe(connection: Connection, filter: string, qos: QoS): Promise<boolean> {
    const { identity, session } = connection;
    if (identity === undefined || session === undefined || session.isEnded) return false;
    if (!this.#may(identity, 'subscribe', filter)) {
      // A restored one that is no longer allowed goes for good.
      if (session.subscriptions.has(filter))
        await this.#deps.sessions.unsubscribe(session, [filter]);
      return false;
    }
    return this.#deps.sessions.subscribe(session, { filter, qos });
  }

  subscribed(connection: Connection, filter: string, qos: QoS): void {
    if (connection.session === undefined) return;
    this.#deps.router.sendRetained(connection.session, filter, qos).catch((error: unknown) => {
      this.failed(connection, error);
      // It was told that it has the subscription; coming back, it asks for it anew and gets what it missed.
      connection.cut('RETAINED_NOT_STORED');
    });
  }

  unsubscribed(connection: Connection, filters: string[]): void {
    const { session } = connection;
    if (session === undefined || session.isPersistent) return;
    void this.#deps.sessions.unsubscribe(session, filters);
  }

  ready(connection: Connection): void {
    if (connection.stream.destroyed) return;
    connection.isReady = true;
    connection.entered();
    this.#tell(connection, true);
    this.#tellPredecessors(connection);
    connection.stream.release();
    connection.session?.attach(connection);
  }

  gone(connection: Connection, isOrderly: boolean): void {
    this.#connections.delete(connection);
    const { will, device } = connection;
    const others = device === undefined ? undefined : this.#byDevice.get(device);
    if (device !== undefined && others?.delete(connection) && others.size === 0)
      this.#byDevice.delete(device);
    this.#leave(connection);
    if (isOrderly && will !== undefined) {
      this.#deps.store.commits
        .commit([removeWill(connection.sessionName, connection.id)])
        .catch((error: unknown) => this.failed(connection, error));
    }
    if (connection.isReady) this.#tellGone(connection);
    else this.#tellPredecessors(connection);
  }

  /** A device that comes back over another connection was never away. */
  #tellGone(connection: Connection): void {
    const { heir } = connection;
    const isComing = heir !== undefined && !heir.isReady && this.#connections.has(heir);
    if (isComing) heir.predecessors.push(connection);
    else this.#tell(connection, false);
  }

  #tellPredecessors({ predecessors }: Connection): void {
    for (const before of predecessors.splice(0)) this.#tell(before, false);
  }

  failed(connection: Connection | undefined, error: unknown): void {
    // What fails after the first failure is its consequence, and would be a line for each message.
    if (connection?.hasFailed === true || connection?.stream.destroyed === true) return;
    if (connection !== undefined) connection.hasFailed = true;
    this.#deps.log.warn(
      { clientId: connection?.clientId, reason: messageOf(error) },
      'a client failed',
    );
  }

  #may(who: Identity, verb: TopicVerb | 'connect', what: string): boolean {
    const decision = authorise(who, verb, what);
    if (!decision.allowed) {
      this.#deps.onRefused?.({ who, verb, what, reason: decision.reason });
    }
    return decision.allowed;
  }

  #leave(connection: Connection): void {
    const { session } = connection;
    if (session?.holder !== connection) return;
    session.detach(connection);
    this.#deps.sessions.leave(session);
  }

  #tell(connection: Connection, connected: boolean): void {
    const { device, clientId, id: sessionId } = connection;
    if (device === undefined) return;
    this.#deps.onSession?.({ device, clientId, sessionId, connected, at: this.#deps.now() });
  }
}

const willMessage = (will: LibraryWill): Message => ({
  topic: will.topic ?? '',
  payload: will.payload ?? Buffer.alloc(0),
  qos: will.qos ?? 0,
  retain: will.retain ?? false,
});
