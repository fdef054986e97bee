/** Every session of the site's broker, in memory for the moment's decisions and in the store for the next start. */
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Wait } from '@holdfast/provisioning/time/wait';
import { isShared } from '../trust/shared-filter.js';
import type { DropEvent } from './broker.js';
import {
  removeSession,
  removeSubscriptions,
  saveSession,
  saveSubscription,
  subscriptionFrom,
} from './broker-rows.js';
import { Deadlines } from './deadlines.js';
import type { BrokerRows } from './load-broker-rows.js';
import { OwnedSessions } from './owned-sessions.js';
import { type Outlet, Session, type SessionLimits } from './session.js';
import { SessionQueues } from './session-queues.js';
import { SharedGroups, type SharedLimits } from './shared-groups.js';
import { Sharing } from './sharing.js';
import { type Subscription, SubscriptionIndex } from './subscription-index.js';

/** How a client begins: from nothing or not, and how long, ms, its session is to outlive the connection. */
export interface SessionStart {
  readonly isClean: boolean;
  readonly expiryMs: number;
}

/** What MQTT 3.1.1 calls a clean session, and the other kind. */
export const cleanSession: SessionStart = { isClean: true, expiryMs: 0 };
export const lastingSession: SessionStart = {
  isClean: false,
  expiryMs: Number.POSITIVE_INFINITY,
};

export interface RegistryLimits {
  readonly deviceSession: SessionLimits;
  readonly serviceSession: SessionLimits;
  /** Persistent sessions of one device; the longest offline goes for a new one. */
  readonly sessionsPerDevice: number;
  /** Likewise of one service. */
  readonly sessionsPerService: number;
  readonly subscriptionsPerSession: number;
  /** The longest that a session outlives its connection, ms. */
  readonly maxSessionExpiryMs: number;
  readonly shared: SharedLimits;
}

export interface RegistryDependencies {
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly log: StoreLog;
  readonly now: () => number;
  readonly elapsed: () => number;
  readonly wait?: Wait;
  readonly onDropped: (event: DropEvent) => void;
}

export class SessionRegistry {
  readonly index = new SubscriptionIndex<Session>();
  readonly groups: SharedGroups;
  readonly queues: SessionQueues;
  readonly sharing: Sharing;
  readonly #deps: RegistryDependencies;
  readonly #limits: RegistryLimits;
  readonly #sessions = new OwnedSessions<Session>();
  readonly #expiring: Deadlines<Session>;
  /** The last claim of each client id that is not met yet. */
  readonly #claims = new Map<string, Promise<void>>();
  #lastKey = 0;
  readonly #retiring = new Set<Promise<void>>();

  constructor(deps: RegistryDependencies, limits: RegistryLimits) {
    this.#deps = deps;
    this.#limits = limits;
    const { elapsed: now, wait, store, log } = deps;
    this.groups = new SharedGroups(limits.shared);
    this.queues = new SessionQueues(deps);
    this.sharing = new Sharing({ store, log, queues: this.queues, groups: this.groups });
    this.#expiring = new Deadlines({ now, ...(wait !== undefined && { wait }) }, (session) =>
      this.#expire(session),
    );
  }

  /** Takes up the sessions of the last run. */
  restore(rows: BrokerRows): void {
    const { maxSessionExpiryMs } = this.#limits;
    const byKey = new Map<number, Session>();
    for (const row of rows.sessions) {
      const session = this.#make(row.clientId, row.device, true, row.key);
      session.lastSeenAt = row.lastSeenAt;
      session.expiryMs = Math.min(row.expiry ?? lastingSession.expiryMs, maxSessionExpiryMs);
      this.#sessions.set(session);
      byKey.set(row.key, session);
      this.#lastKey = Math.max(this.#lastKey, row.key);
      // Connected until the last run ended: its time begins now.
      this.#expiring.set(session, row.expiresAt ?? this.#deps.elapsed() + session.expiryMs);
    }
    for (const row of rows.subscriptions) {
      const session = byKey.get(row.session);
      if (session === undefined) continue;
      const subscription = subscriptionFrom(row);
      this.#enter(session, subscription);
    }
    for (const row of rows.queue) {
      this.queues.goOnFrom(row.seq);
      const session = byKey.get(row.session);
      if (session === undefined) continue;
      session.deliver({
        seq: row.seq,
        qos: row.qos === 2 ? 2 : 1,
        size: row.size,
        packetId: row.packetId ?? undefined,
        // Nobody knows any more; a duplicate flag too many is allowed, one too few is not.
        isSent: session.queue.length < this.#limitsOf(session.device).maxInflight,
        isReleased: row.state === 1,
        message: undefined,
        expiresAt: row.expiresAt ?? undefined,
        share: row.share ?? undefined,
      });
    }
    for (const { session, packetId } of rows.inbox) byKey.get(session)?.inbox.add(packetId);
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId);
  }

  all(): Iterable<Session> {
    return this.#sessions.all();
  }

  /**
   * The session a connecting client goes on with; whoever had it is cut (3.1.1, 3.1.4). Claims of one client id are met one after the
   * other: nobody is given a session that is not on disk yet.
   */
  claim(
    clientId: string,
    device: string | null,
    start: SessionStart,
    holder?: Outlet,
  ): Promise<Session> {
    const before = this.#claims.get(clientId);
    const work = (): Promise<Session> => this.#claim(clientId, device, start, holder);
    const claimed = before === undefined ? work() : before.then(work);
    const settled = claimed
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => {
        if (this.#claims.get(clientId) === settled) this.#claims.delete(clientId);
      });
    this.#claims.set(clientId, settled);
    return claimed;
  }

  /** The connection is gone. */
  leave(session: Session): void {
    session.lastSeenAt = this.#deps.now();
    if (session.isEnded) return;
    if (!session.isPersistent || session.expiryMs === 0) {
      this.#retire(session);
      return;
    }
    this.#expiring.set(session, this.#deps.elapsed() + session.expiryMs);
    void this.#store([this.#row(session)]);
    void this.sharing.left(session);
  }

  /** How long a session may go on without its client, from its next goodbye. */
  setExpiry(session: Session, expiryMs: number): void {
    session.expiryMs = Math.min(expiryMs, this.#limits.maxSessionExpiryMs);
  }

  /** False when the session has as many subscriptions as it may. */
  async subscribe(session: Session, subscription: Subscription): Promise<boolean> {
    const { filter } = subscription;
    const before = session.subscriptions.get(filter);
    if (before !== undefined && isSame(before, subscription)) return true;
    if (before === undefined) {
      if (session.subscriptions.size >= this.#limits.subscriptionsPerSession) return false;
      if (isShared(filter) && !this.groups.hasRoom(filter)) return false;
    }
    this.#enter(session, subscription);
    if (!session.isPersistent) return true;
    try {
      await this.#deps.store.commits.commit([saveSubscription(session.key, subscription)]);
      return true;
    } catch (error) {
      if (before === undefined) this.#remove(session, filter);
      else this.#enter(session, before);
      throw error;
    }
  }

  async unsubscribe(session: Session, filters: readonly string[]): Promise<void> {
    if (session.isPersistent) {
      await this.#deps.store.commits.commit([removeSubscriptions(session.key, filters)]);
    }
    for (const filter of filters) this.#remove(session, filter);
    await this.sharing.left(session, filters);
  }

  /** Ends a session with all that is stored of it. */
  async forget(session: Session): Promise<void> {
    const write = this.#end(session);
    if (write.length > 0) await this.#deps.store.commits.commit(write);
  }

  /** Ends every session of a device, whose connections are cut. */
  async forgetDevice(device: string): Promise<void> {
    const write: Write[number][] = [];
    for (const session of this.#sessions.ofDevice(device)) {
      const { length: count, bytes } = session.queue;
      if (count > 0) {
        const { clientId } = session;
        this.#deps.onDropped({ clientId, count, bytes, reason: 'DEVICE_GONE' });
      }
      write.push(...this.#end(session));
    }
    if (write.length > 0) await this.#deps.store.commits.commit(write);
  }

  /** Resolves when the acknowledgements so far are stored. */
  async close(): Promise<void> {
    this.#expiring.close();
    await Promise.all(this.#retiring);
    await this.queues.close();
  }

  async #claim(
    clientId: string,
    device: string | null,
    start: SessionStart,
    holder: Outlet | undefined,
  ): Promise<Session> {
    const expiryMs = Math.min(start.expiryMs, this.#limits.maxSessionExpiryMs);
    const existing = this.#sessions.get(clientId);
    if (existing?.holder !== undefined) {
      const before = existing.holder;
      existing.detach(before);
      before.cut('TAKEN_OVER');
    }
    const isOver =
      existing === undefined || existing.isEnded || !existing.isPersistent || start.isClean;
    if (!isOver && !this.#isExpired(existing)) {
      await this.#resume(existing, expiryMs, holder);
      return existing;
    }
    this.#lastKey += 1;
    const session = this.#make(clientId, device, expiryMs > 0, this.#lastKey);
    session.expiryMs = expiryMs;
    session.holder = holder;
    const write: Write[number][] =
      existing?.isPersistent === true ? removeSession(existing.key) : [];
    if (session.isPersistent) write.push(this.#row(session));
    // What the groups of the former session are owed goes to others; it is read while it is there.
    const copies = existing === undefined ? [] : this.sharing.take(existing);
    try {
      await this.queues.load(copies.filter(({ message }) => message === undefined));
      // What cannot be stored changes nothing here either: what was before is still what is on disk.
      if (write.length > 0) await this.#deps.store.commits.commit(write);
    } catch (error) {
      for (const copy of copies) existing?.deliver(copy);
      throw error;
    }
    if (existing !== undefined) {
      this.#end(existing);
      void this.sharing.adopt(existing, copies);
    }
    this.#sessions.set(session);
    if (session.isPersistent) await this.#store(this.#evict(session));
    return session;
  }

  /** The client is back; how long its session may outlive this connection is stored before it is told so. */
  async #resume(session: Session, expiryMs: number, holder: Outlet | undefined): Promise<void> {
    const before = { expiryMs: session.expiryMs, expiresAt: this.#expiring.at(session) };
    session.holder = holder;
    session.expiryMs = expiryMs;
    this.#expiring.delete(session);
    if (before.expiryMs === expiryMs && before.expiresAt === undefined) return;
    try {
      await this.#deps.store.commits.commit([this.#row(session)]);
    } catch (error) {
      session.holder = undefined;
      session.expiryMs = before.expiryMs;
      this.#expiring.set(session, before.expiresAt ?? this.#deps.elapsed() + before.expiryMs);
      throw error;
    }
  }

  #isExpired(session: Session): boolean {
    const expiresAt = this.#expiring.at(session);
    return expiresAt !== undefined && expiresAt <= this.#deps.elapsed();
  }

  /** The client has been away for as long as its session may be. */
  #expire(session: Session): void {
    if (session.isEnded || session.holder !== undefined) return;
    const { clientId, queue } = session;
    const { length: count, bytes } = queue;
    if (count > 0) this.#deps.onDropped({ clientId, count, bytes, reason: 'SESSION_EXPIRED' });
    this.#retire(session);
  }

  /** Ends a session; what it was owed by its groups goes to others before it goes from the disk. */
  #retire(session: Session): void {
    const copies = this.sharing.take(session);
    const write = this.#end(session);
    if (copies.length === 0) {
      void this.#store(write);
      return;
    }
    const retiring = this.sharing.adopt(session, copies).then(() => this.#store(write));
    this.#retiring.add(retiring);
    void retiring.then(() => this.#retiring.delete(retiring));
  }

  #enter(session: Session, subscription: Subscription): void {
    session.subscriptions.set(subscription.filter, subscription);
    if (isShared(subscription.filter)) this.groups.join(session, subscription);
    else this.index.add(session, subscription);
  }

  #remove(session: Session, filter: string): void {
    if (!session.subscriptions.delete(filter)) return;
    if (isShared(filter)) this.groups.leave(session, filter);
    else this.index.remove(session, filter);
  }

  #end(session: Session): Write[number][] {
    this.#expiring.delete(session);
    for (const filter of session.subscriptions.keys()) {
      if (isShared(filter)) this.groups.leave(session, filter);
      else this.index.remove(session, filter);
    }
    session.end();
    this.#sessions.delete(session);
    return session.isPersistent ? removeSession(session.key) : [];
  }

  #evict(session: Session): Write[number][] {
    const { sessionsPerDevice, sessionsPerService } = this.#limits;
    const most = session.device === null ? sessionsPerService : sessionsPerDevice;
    const persistent = this.#sessions.sharingOwnerOf(session).filter((one) => one.isPersistent);
    if (persistent.length <= most) return [];
    const [oldest] = persistent
      .filter((other) => other !== session && other.holder === undefined)
      .sort((a, b) => a.lastSeenAt - b.lastSeenAt);
    if (oldest === undefined) return [];
    const { length: count, bytes } = oldest.queue;
    this.#deps.onDropped({ clientId: oldest.clientId, count, bytes, reason: 'SESSION_EVICTED' });
    return this.#end(oldest);
  }

  #make(clientId: string, device: string | null, isPersistent: boolean, key: number): Session {
    const session = new Session(
      this.queues,
      { clientId, device, isPersistent, key },
      this.#limitsOf(device),
    );
    session.lastSeenAt = this.#deps.now();
    return session;
  }

  #limitsOf(device: string | null): SessionLimits {
    return device === null ? this.#limits.serviceSession : this.#limits.deviceSession;
  }

  #row(session: Session): Write[number] {
    const { key, clientId, device, lastSeenAt, expiryMs } = session;
    const expiry = Number.isFinite(expiryMs) ? expiryMs : null;
    const expiresAt = this.#expiring.at(session) ?? null;
    return saveSession({ key, clientId, device, lastSeenAt, expiry, expiresAt });
  }

  /** What is only found again at the next start when it could not be stored. */
  async #store(write: Write): Promise<void> {
    if (write.length === 0) return;
    await this.#deps.store.commits
      .commit(write)
      .catch((error: unknown) => this.#deps.log.warn({ error }, 'a session could not be stored'));
  }
}

const isSame = (a: Subscription, b: Subscription): boolean =>
  a.qos === b.qos &&
  a.noLocal === b.noLocal &&
  a.retainAsPublished === b.retainAsPublished &&
  a.identifier === b.identifier;
