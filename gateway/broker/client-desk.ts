/** Where every client's wish is decided: who it is, which session it has, what it may do. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { authorise, type Decision, type DenialReason, type TopicVerb } from '../trust/authorise.js';
import { anonymous, type Identity } from '../trust/identity.js';
import { isShared } from '../trust/shared-filter.js';
import type { BrokerDependencies } from './broker.js';
import type { BrokerLimits } from './broker-limits.js';
import type { WillRow } from './broker-rows.js';
import { ClientStream } from './client-stream.js';
import { Connection } from './connection.js';
import { Inbound } from './inbound.js';
import { InflightBudget } from './inflight-budget.js';
import type {
  ConnectRefusal,
  ConnectRequest,
  Protocol,
  ProtocolHooks,
  PublishRequest,
  SubscribeOutcome,
} from './protocol.js';
import type { Router } from './router.js';
import type { SessionRegistry } from './session-registry.js';
import type { Subscription } from './subscription-index.js';
import { TurnFlush } from './turn-flush.js';
import { Wills } from './wills.js';

export interface DeskDependencies extends BrokerDependencies {
  readonly sessions: SessionRegistry;
  readonly router: Router;
  /** The broker's elapsed time. */
  readonly elapsed: () => number;
}

export class ClientDesk implements ProtocolHooks<Connection> {
  readonly #deps: DeskDependencies;
  readonly #limits: BrokerLimits;
  readonly #shared: { readonly budget: InflightBudget; readonly flush: TurnFlush };
  readonly #inbound: Inbound;
  readonly #wills: Wills;
  readonly #connections = new Set<Connection>();
  readonly #byDevice = new Map<string, Set<Connection>>();
  #isClosing = false;

  constructor(deps: DeskDependencies, limits: BrokerLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#inbound = new Inbound(deps, limits.maxInbox);
    this.#wills = new Wills({ ...deps, may: (who, topic) => this.#may(who, 'will', topic) });
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
        connection.mqtt5?.farewell(reason);
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
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const connection of [...this.#connections]) connection.cut('BROKER_CLOSING');
    await this.#wills.close();
  }

  onConnect(connection: Connection, connect: ConnectRequest): string {
    const { device } = connection;
    const { clientId: asked, start, will, username = '' } = connect;
    connection.will = will;
    connection.start = start;
    // Where it is not told which, an id the broker gives out cannot name a session to come back to (3.1.1, 3.1.3.1).
    if (asked === '' && connect.mustBeCleanWithoutId === true && !start.isClean) {
      connection.refusal = 'CLIENT_ID';
    }
    if (device !== undefined) {
      connection.clientId = asked === '' ? `${device}:${connection.id}` : asked;
      connection.sessionName = connection.clientId;
    } else {
      connection.clientId = asked === '' ? connection.id : asked;
      connection.sessionName = `service/${username}/${connection.clientId}`;
    }
    return connection.sessionName;
  }

  async authenticate(
    connection: Connection,
    user?: string,
    password?: Uint8Array,
  ): Promise<ConnectRefusal | undefined> {
    connection.identity ??= await this.#deps.authenticateService?.(
      user ?? '',
      password ?? new Uint8Array(),
    );
    const { identity, device, will, refusal, sessionName } = connection;
    if (identity === undefined) return 'CREDENTIALS';
    if (refusal !== undefined) return refusal;
    if (!this.#may(identity, 'connect', connection.clientId)) return 'CLIENT_ID';
    if (this.#isClosing) throw new HoldfastError('STORE_UNAVAILABLE', 'the broker is closing');
    if (will !== undefined && !this.#may(identity, 'will', will.topic)) return 'NOT_AUTHORISED';
    const others = device === undefined ? 0 : (this.#byDevice.get(device)?.size ?? 0);
    const most = this.#limits.connectionsPerDevice;
    if (others > most) {
      throw new HoldfastError('REQUEST_THROTTLED', `a device has ${most} connections at most`);
    }
    const existing = this.#deps.sessions.get(sessionName);
    const before = existing?.holder;
    if (before instanceof Connection && before !== connection) before.heir = connection;
    const session = await this.#deps.sessions.claim(
      sessionName,
      device ?? null,
      connection.start,
      connection,
    );
    connection.session = session;
    connection.isResumed = session === existing;
    await this.#wills.returned(sessionName, connection.isResumed);
    if (!connection.stream.destroyed) return undefined;
    this.#leave(connection);
    throw new HoldfastError('CONNECTION_FAILED', 'the client has gone');
  }

  publish(connection: Connection, message: PublishRequest, done: (error?: Error) => void): void {
    this.#inbound.take(connection, message, done);
  }

  async will(connection: Connection): Promise<void> {
    if (!this.#isClosing) await this.#wills.lost(connection);
  }

  restoreWills(rows: readonly WillRow[]): Promise<void> {
    return this.#wills.restore(rows);
  }

  async storeWill(connection: Connection): Promise<void> {
    await this.#wills.store(connection);
    // A client that went before it was told that it is there has none: nobody would publish it now, and the next start would.
    if (connection.stream.destroyed) await this.#wills.withdraw(connection);
  }

  forgetWills(device: string): Promise<void> {
    return this.#wills.forget(device);
  }

  async subscribe(connection: Connection, subscription: Subscription): Promise<SubscribeOutcome> {
    const { identity, session } = connection;
    const { filter } = subscription;
    if (identity === undefined || session === undefined || session.isEnded) return 'NOT_AUTHORISED';
    const decision = this.#decide(identity, 'subscribe', filter);
    if (!decision.allowed) {
      // A restored one that is no longer allowed goes for good.
      if (session.subscriptions.has(filter))
        await this.#deps.sessions.unsubscribe(session, [filter]);
      if (isShared(filter) && identity.kind === 'device') return 'SHARING_NOT_OFFERED';
      return invalidFilter.has(decision.reason) ? 'FILTER_INVALID' : 'NOT_AUTHORISED';
    }
    const isGranted = await this.#deps.sessions.subscribe(session, subscription);
    return isGranted ? 'GRANTED' : 'QUOTA_EXCEEDED';
  }

  subscribed(connection: Connection, subscription: Subscription): void {
    const { session, device } = connection;
    if (device !== undefined) this.#deps.onSubscribed?.({ device, filter: subscription.filter });
    if (session === undefined || isShared(subscription.filter)) return;
    this.#deps.router.sendRetained(session, subscription).catch((error: unknown) => {
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
    const { session } = connection;
    if (session === undefined) return;
    session.attach(connection);
    void this.#deps.sessions.sharing.arrived(session);
  }

  gone(connection: Connection, isOrderly: boolean): void {
    this.#connections.delete(connection);
    const { will, device } = connection;
    const others = device === undefined ? undefined : this.#byDevice.get(device);
    if (device !== undefined && others?.delete(connection) && others.size === 0)
      this.#byDevice.delete(device);
    this.#leave(connection);
    if (isOrderly && will !== undefined) {
      this.#wills.withdraw(connection).catch((error: unknown) => this.failed(connection, error));
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
    return this.#decide(who, verb, what).allowed;
  }

  #decide(who: Identity, verb: TopicVerb | 'connect', what: string): Decision {
    const decision = authorise(who, verb, what);
    if (!decision.allowed) {
      this.#deps.onRefused?.({ who, verb, what, reason: decision.reason });
    }
    return decision;
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
    this.#deps.onSession?.({ device, clientId, sessionId, connected, at: this.#deps.clock.now() });
  }
}

const invalidFilter: ReadonlySet<DenialReason> = new Set(['TOPIC_MALFORMED', 'TOPIC_TOO_LONG']);
