/** The groups of shared subscriptions (MQTT 5, 4.8.2): each message of a group goes to one of its members. */
import { parseShared } from '../trust/shared-filter.js';
import type { Session } from './session.js';
import { type Subscriber, type Subscription, SubscriptionIndex } from './subscription-index.js';

export interface SharedLimits {
  readonly maxGroups: number;
  readonly maxMembers: number;
}

export class SharedGroup {
  /** As its members subscribe to it. */
  readonly name: string;
  /** The one whose turn was longest ago first. */
  readonly #members = new Map<Session, Subscription>();

  constructor(name: string) {
    this.name = name;
  }

  get members(): ReadonlyMap<Session, Subscription> {
    return this.#members;
  }

  set(session: Session, subscription: Subscription): void {
    this.#members.set(session, subscription);
  }

  delete(session: Session): void {
    this.#members.delete(session);
  }

  /**
   * Who gets the next: of those connected, and of the others only when there are none and it can wait, the one that is owed least, in turn.
   * `mustLast`: it is on disk, and stays there.
   */
  pick(qos: 0 | 1 | 2, mustLast = false): readonly [Session, Subscription] | undefined {
    let best: readonly [Session, Subscription] | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const member of this.#members) {
      const [session, subscription] = member;
      const isOwed = Math.min(qos, subscription.qos) > 0;
      if (mustLast && !session.isPersistent) continue;
      const isHere = session.outlet !== undefined && (isOwed || !session.outlet.isCongested);
      if (!isHere && !(isOwed && session.isPersistent)) continue;
      const burden = (isHere ? 0 : awayBurden) + session.queue.reservedCount;
      if (burden >= least) continue;
      best = member;
      least = burden;
    }
    if (best !== undefined) {
      this.#members.delete(best[0]);
      this.#members.set(...best);
    }
    return best;
  }
}

/** More than anybody connected can be owed. */
const awayBurden = 1e6;

export class SharedGroups {
  readonly #limits: SharedLimits;
  readonly #byName = new Map<string, SharedGroup>();
  readonly #index = new SubscriptionIndex<SharedGroup>();

  constructor(limits: SharedLimits) {
    this.#limits = limits;
  }

  get(name: string): SharedGroup | undefined {
    return this.#byName.get(name);
  }

  /** Whether the group takes a member that it does not have. */
  hasRoom(name: string): boolean {
    const group = this.#byName.get(name);
    return group === undefined
      ? this.#byName.size < this.#limits.maxGroups
      : group.members.size < this.#limits.maxMembers;
  }

  join(session: Session, subscription: Subscription): void {
    const name = subscription.filter;
    const parsed = parseShared(name);
    if (parsed === undefined) return;
    let group = this.#byName.get(name);
    if (group === undefined) {
      group = new SharedGroup(name);
      this.#byName.set(name, group);
      this.#index.add(group, { filter: parsed.filter, qos: 2 });
    }
    group.set(session, subscription);
  }

  leave(session: Session, name: string): void {
    const group = this.#byName.get(name);
    if (group === undefined) return;
    group.delete(session);
    if (group.members.size > 0) return;
    this.#byName.delete(name);
    this.#index.remove(group, parseShared(name)?.filter ?? '');
  }

  /** The groups that get a message, of which there mostly are none. */
  matching(topic: string): readonly Subscriber<SharedGroup>[] {
    return this.#byName.size === 0 ? none : this.#index.subscribersOf(topic);
  }
}

const none: readonly Subscriber<SharedGroup>[] = [];
