/**
 * Sessions, queues, retained messages and wills as the protocol library asks for them (the contract of aedes-persistence), over the
 * registry and the store. Everything is committed when a call resolves.
 */
import { Readable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Store } from '@holdfast/provisioning/storage/store';
import { enqueue, removeInbox, saveInbox, saveQueueState, saveWill } from './broker-rows.js';
import type { BrokerRows } from './load-broker-rows.js';
import type { Message, QoS } from './message.js';
import type { Outgoing } from './outgoing-queue.js';
import type { RetainedStore } from './retained-store.js';
import type { Session } from './session.js';
import { lastingSession, type SessionRegistry } from './session-registry.js';
import type { Subscription } from './subscription-index.js';

/** A packet as the library hands it over; it has more members, which are kept in memory and given back. */
export interface LibraryPacket {
  readonly cmd?: string;
  readonly topic?: string;
  readonly payload?: Uint8Array;
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly messageId?: number | undefined;
  readonly brokerId?: string;
  readonly brokerCounter?: number;
}
export interface LibraryClient {
  readonly id: string;
}
export interface LibrarySubscription {
  readonly topic: string;
  readonly qos: QoS;
}
export interface LibraryWill extends LibraryPacket {
  clientId?: string;
  brokerId?: string;
}

export interface PersistenceDependencies {
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly sessions: SessionRegistry;
  readonly retained: RetainedStore;
}

export class SitePersistence {
  /** Set by `setup`; the library and its suite read it. */
  broker: { readonly id: string } = { id: '' };
  protected readonly deps: PersistenceDependencies;
  readonly #wills = new Map<string, LibraryWill>();
  /** What the library handed over, beyond what is stored. */
  readonly #packets = new WeakMap<object, LibraryPacket>();
  readonly #subscriptions = new WeakMap<Subscription, LibrarySubscription>();
  readonly #incoming = new WeakMap<Session, Map<number, LibraryPacket>>();

  constructor(deps: PersistenceDependencies) {
    this.deps = deps;
  }

  restoreWills(rows: BrokerRows['wills']): void {
    for (const { clientId, connection, topic, payload, qos, retain } of rows) {
      this.#wills.set(clientId, { clientId, brokerId: connection, topic, payload, qos, retain });
    }
  }

  async setup(broker: { readonly id: string }): Promise<void> {
    this.broker = broker;
  }

  async destroy(): Promise<void> {
    await this.deps.sessions.close();
  }

  async storeRetained(packet: LibraryPacket): Promise<void> {
    const message = { ...messageOf(packet), retain: true };
    const change = this.deps.retained.set(message, 'gateway');
    if (change.kind === 'over_quota') return;
    try {
      await this.deps.store.commits.commit([change.append]);
    } catch (error) {
      change.undo();
      throw error;
    }
    change.kept();
    for (const kept of this.deps.retained.matching(message.topic)) {
      this.#packets.set(kept, { ...packet });
    }
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter]);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    const packets = filters.flatMap((filter) =>
      [...this.deps.retained.matching(filter)].map(
        (kept): LibraryPacket => this.#packets.get(kept) ?? { cmd: 'publish', ...kept },
      ),
    );
    return Readable.from(packets);
  }

  async addSubscriptions(
    client: LibraryClient,
    subscriptions: readonly LibrarySubscription[],
  ): Promise<void> {
    const session = await this.#session(client);
    for (const asked of subscriptions) {
      const subscription: Subscription = { filter: asked.topic, qos: asked.qos };
      this.#subscriptions.set(subscription, { ...asked });
      await this.deps.sessions.subscribe(session, subscription);
    }
  }

  async removeSubscriptions(client: LibraryClient, filters: readonly string[]): Promise<void> {
    const session = this.deps.sessions.get(client.id);
    if (session !== undefined) await this.deps.sessions.unsubscribe(session, filters);
  }

  async subscriptionsByClient(client: LibraryClient): Promise<LibrarySubscription[]> {
    const session = this.deps.sessions.get(client.id);
    return [...(session?.subscriptions.values() ?? [])].map((one) => this.#given(one));
  }

  async subscriptionsByTopic(
    topic: string,
  ): Promise<(LibrarySubscription & { clientId: string })[]> {
    return [...this.deps.sessions.index.matches(topic)]
      .filter(([, { qos }]) => qos > 0)
      .map(([{ clientId }, subscription]) => ({ clientId, ...this.#given(subscription) }));
  }

  async cleanSubscriptions(client: LibraryClient): Promise<void> {
    const session = this.deps.sessions.get(client.id);
    if (session !== undefined) await this.deps.sessions.forget(session);
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    const held = [...this.deps.sessions.all()].filter(
      ({ subscriptions }) => subscriptions.size > 0,
    );
    const subsCount = held
      .flatMap(({ subscriptions }) => [...subscriptions.values()])
      .filter(({ qos }) => qos > 0).length;
    return { subsCount, clientsCount: held.length };
  }

  getClientList(filter: string): Readable {
    const holders = [...this.deps.sessions.all()].filter((one) => one.subscriptions.has(filter));
    return Readable.from(holders.map(({ clientId }) => clientId));
  }

  async outgoingEnqueue(to: { readonly clientId: string }, packet: LibraryPacket): Promise<void> {
    await this.outgoingEnqueueCombi([to], packet);
  }

  async outgoingEnqueueCombi(
    subscribers: readonly { readonly clientId: string }[],
    packet: LibraryPacket,
  ): Promise<void> {
    for (const { clientId } of subscribers) {
      const session = await this.#session({ id: clientId });
      const message = messageOf(packet);
      const made = this.deps.sessions.queues.outgoing(session, message, message.qos === 2 ? 2 : 1);
      session.queue.forgetPacketId(made.packetId);
      // The library gives out packet ids when it sends.
      const outgoing: Outgoing = { ...made, packetId: undefined };
      const { seq, qos } = outgoing;
      const { topic, payload, retain } = message;
      await this.deps.store.commits.commit([
        enqueue({ seq, session: session.key, packetId: null, qos, retain, topic, payload }),
      ]);
      this.#packets.set(outgoing, { ...packet });
      session.deliver(outgoing);
    }
  }

  /** A packet id for a queued message, or, for `pubrel`, that PUBREC came for it. */
  async outgoingUpdate(client: LibraryClient, packet: LibraryPacket): Promise<void> {
    const { messageId } = packet;
    const session = this.deps.sessions.get(client.id);
    if (session === undefined || messageId === undefined) throw noSuchPacket(client, messageId);
    if (packet.cmd === 'pubrel') {
      await this.deps.sessions.queues.released(session, messageId);
      return;
    }
    for (const outgoing of session.queue.all()) {
      const given = this.#packets.get(outgoing);
      if (given?.brokerId !== packet.brokerId || given?.brokerCounter !== packet.brokerCounter)
        continue;
      session.queue.assignPacketId(outgoing, messageId);
      outgoing.isSent = true;
      await this.deps.store.commits.commit([saveQueueState(outgoing.seq, messageId, 0)]);
      return;
    }
    throw noSuchPacket(client, messageId);
  }

  /** PUBACK or PUBCOMP came: the message is done with. */
  async outgoingClearMessageId(
    client: LibraryClient,
    packet: LibraryPacket,
  ): Promise<LibraryPacket | undefined> {
    const session = this.deps.sessions.get(client.id);
    const { messageId } = packet;
    if (session === undefined || messageId === undefined) return undefined;
    const outgoing = session.queue.find(messageId);
    if (outgoing === undefined) return undefined;
    const found = await this.#packetOf(outgoing);
    session.acknowledged(messageId);
    return found;
  }

  outgoingStream(client: LibraryClient): Readable {
    const queued = [...(this.deps.sessions.get(client.id)?.queue.all() ?? [])];
    const packetOf = (outgoing: Outgoing): Promise<LibraryPacket> => this.#packetOf(outgoing);
    return Readable.from(
      (async function* () {
        for (const outgoing of queued) yield await packetOf(outgoing);
      })(),
    );
  }

  async incomingStorePacket(client: LibraryClient, packet: LibraryPacket): Promise<void> {
    const session = await this.#session(client);
    const { messageId } = packet;
    if (messageId === undefined) throw noSuchPacket(client, messageId);
    await this.deps.store.commits.commit([saveInbox(session.key, messageId)]);
    session.inbox.add(messageId);
    const kept = this.#incoming.get(session) ?? new Map<number, LibraryPacket>();
    kept.set(messageId, { ...packetFrom(packet), messageId });
    this.#incoming.set(session, kept);
  }

  async incomingGetPacket(client: LibraryClient, packet: LibraryPacket): Promise<LibraryPacket> {
    const session = this.deps.sessions.get(client.id);
    const { messageId } = packet;
    if (session === undefined || messageId === undefined || !session.inbox.has(messageId)) {
      throw noSuchPacket(client, messageId);
    }
    return this.#incoming.get(session)?.get(messageId) ?? { messageId };
  }

  async incomingDelPacket(client: LibraryClient, packet: LibraryPacket): Promise<void> {
    const session = this.deps.sessions.get(client.id);
    const { messageId } = packet;
    if (session === undefined || messageId === undefined || !session.inbox.has(messageId)) {
      throw noSuchPacket(client, messageId);
    }
    this.#incoming.get(session)?.delete(messageId);
    await this.deps.sessions.queues.completed(session, messageId);
  }

  async cleanIncoming(client: LibraryClient): Promise<void> {
    const session = this.deps.sessions.get(client.id);
    if (session === undefined) return;
    session.inbox.clear();
    this.#incoming.delete(session);
    await this.deps.store.commits.commit([removeInbox(session.key)]);
  }

  async putWill(client: LibraryClient, will: LibraryWill): Promise<void> {
    will.brokerId = this.broker.id;
    will.clientId = client.id;
    const connection = this.broker.id;
    const row = {
      ...{ ...messageOf(will), clientId: client.id, connection, identity: null },
      ...{ properties: null, expiry: null, delay: 0, dueAt: null },
    };
    await this.deps.store.commits.commit([saveWill(row)]);
    this.#wills.set(client.id, will);
  }

  async getWill(client: LibraryClient): Promise<LibraryWill | undefined> {
    return this.#wills.get(client.id);
  }

  async delWill(client: LibraryClient): Promise<LibraryWill | undefined> {
    const will = this.#wills.get(client.id);
    this.#wills.delete(client.id);
    await this.deps.store.commits.commit([
      { sql: 'DELETE FROM mqtt_wills WHERE client_id = ?', params: [client.id] },
    ]);
    return will;
  }

  streamWill(brokers: Readonly<Record<string, number>> = {}): Readable {
    const wills = [...this.#wills.values()];
    return Readable.from(wills.filter(({ brokerId }) => !Object.hasOwn(brokers, brokerId ?? '')));
  }

  async #session(client: LibraryClient): Promise<Session> {
    return (
      this.deps.sessions.get(client.id) ?? this.deps.sessions.claim(client.id, null, lastingSession)
    );
  }

  #given(subscription: Subscription): LibrarySubscription {
    const { filter: topic, qos } = subscription;
    return this.#subscriptions.get(subscription) ?? { topic, qos };
  }

  async #packetOf(outgoing: Outgoing): Promise<LibraryPacket> {
    if (outgoing.isReleased) return { cmd: 'pubrel', messageId: outgoing.packetId };
    if (outgoing.message === undefined) await this.deps.sessions.queues.load([outgoing]);
    const given = this.#packets.get(outgoing) ?? {
      ...(outgoing.message ?? {}),
      qos: outgoing.qos,
    };
    return { ...packetFrom(given), messageId: outgoing.packetId };
  }
}

const packetFrom = (packet: LibraryPacket): LibraryPacket & { dup: boolean } => ({
  cmd: 'publish',
  ...(packet.brokerId === undefined ? {} : { brokerId: packet.brokerId }),
  ...(packet.brokerCounter === undefined ? {} : { brokerCounter: packet.brokerCounter }),
  topic: packet.topic ?? '',
  payload: packet.payload ?? Buffer.alloc(0),
  qos: packet.qos ?? 0,
  retain: packet.retain ?? false,
  dup: false,
});

const messageOf = (packet: LibraryPacket): Message => ({
  topic: packet.topic ?? '',
  payload: packet.payload ?? Buffer.alloc(0),
  qos: packet.qos ?? 0,
  retain: packet.retain ?? false,
});

const noSuchPacket = (client: LibraryClient, messageId: number | undefined): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', `${client.id} has no message ${messageId ?? '?'}`);
