/** From one message to every copy it owes: first what must be on disk, as a Write, then, once it is, the deliveries. */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Store } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { DropEvent } from './broker.js';
import { type Message, minQoS, type QoS } from './message.js';
import { identified } from './mqtt5/carried-properties.js';
import type { Outgoing } from './outgoing-queue.js';
import { publishHead } from './publish-packet.js';
import type { Retained, RetainedStore } from './retained-store.js';
import type { Session } from './session.js';
import { rowOf } from './session-queues.js';
import type { SessionRegistry } from './session-registry.js';
import type { SharedGroup } from './shared-groups.js';
import { type Subscriber, type Subscription, subscriberOf } from './subscription-index.js';

export interface Prepared {
  /** Commit this, then `deliver`, or `undo` when it could not be. */
  readonly write: Write;
  /** What the publisher should wait for before its next messages, when a subscriber is behind. */
  deliver(): Promise<void> | undefined;
  undo(): void;
}

export class Router {
  readonly #sessions: SessionRegistry;
  readonly #retained: RetainedStore;
  readonly #store: Pick<Store, 'commits'>;
  readonly #onDropped: (event: DropEvent) => void;

  constructor(
    deps: {
      readonly sessions: SessionRegistry;
      readonly retained: RetainedStore;
      readonly store: Pick<Store, 'commits'>;
    },
    onDropped: (event: DropEvent) => void,
  ) {
    this.#sessions = deps.sessions;
    this.#retained = deps.retained;
    this.#store = deps.store;
    this.#onDropped = onDropped;
  }

  /**
   * `owner` is whose retained quota it counts against, `clientId` who is named when it is over, `from` the session whose client
   * published it. `to` is the client that alone gets it, whatever it subscribed to, if it is there.
   */
  prepare(message: Message, owner: string, clientId: string, from?: string, to?: string): Prepared {
    const subscribers =
      to === undefined
        ? this.#sessions.index.subscribersOf(message.topic)
        : this.#connected(to, message.qos);
    const groups = to === undefined ? this.#sessions.groups.matching(message.topic) : [];
    if (subscribers.length === 0 && groups.length === 0 && !message.retain) return nobody;
    const write: Write[number][] = [];
    const undo: (() => void)[] = [];
    let kept: (() => void) | undefined;
    if (message.retain) {
      const change = this.#retained.set(message, owner);
      if (change.kind === 'stored') {
        write.push(change.append);
        undo.push(() => change.undo());
        kept = () => change.kept();
      } else {
        const bytes = message.payload.length;
        this.#onDropped({ clientId, count: 1, bytes, reason: 'RETAINED_QUOTA' });
      }
    }
    const { topic, payload, qos, properties, expiresAt } = message;
    const live: Message = { topic, payload, qos, retain: false, properties, expiresAt };
    const once: [Session, Message][] = [];
    const owed: [Session, Outgoing][] = [];
    const owe = (session: Session, fitted: Message, granted: QoS, share?: string): void => {
      if (granted === 0) {
        once.push([session, fitted]);
        return;
      }
      const outgoing = this.#copyFor(session, fitted, granted, share);
      if (outgoing === undefined) return;
      owed.push([session, outgoing]);
      undo.push(() => session.queue.forgetPacketId(outgoing.packetId));
      if (session.isPersistent) write.push(rowOf(session, outgoing));
    };
    for (const subscriber of subscribers) {
      const { session } = subscriber;
      const asked = session.clientId === from ? subscriber.ownQos : subscriber.qos;
      if (asked === undefined) continue;
      owe(session, fit(subscriber, message.retain, live), minQoS(asked, qos));
    }
    for (const { session: group } of groups) {
      const member = memberFor(group, qos);
      if (member === undefined) continue;
      const fitted = fit(member, message.retain, live);
      owe(member.session, fitted, minQoS(member.qos, qos), group.name);
    }
    return {
      write,
      undo: () => {
        for (const step of undo) step();
      },
      deliver: () => {
        kept?.();
        return deliver(live, once, owed);
      },
    };
  }

  #connected(clientId: string, qos: QoS): readonly Subscriber<Session>[] {
    const session = this.#sessions.get(clientId);
    return session?.outlet === undefined
      ? []
      : [{ session, qos, ownQos: qos, retainAsPublished: false, identifiers: [] }];
  }

  /** Nothing when every packet id of the session is taken: its queue is as full as can be. */
  #copyFor(session: Session, message: Message, qos: 1 | 2, share?: string) {
    try {
      return this.#sessions.queues.outgoing(session, message, qos, share);
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_OVERLOADED')) throw error;
      const { clientId } = session;
      const bytes = message.payload.length;
      this.#onDropped({ clientId, count: 1, bytes, reason: 'QUEUE_FULL' });
      return undefined;
    }
  }

  /** A message of the gateway's own, or a will. */
  async route(
    message: Message,
    owner: string,
    clientId: string,
    { also = [], to }: { readonly also?: Write; readonly to?: string | undefined } = {},
  ): Promise<void> {
    const prepared = this.prepare(message, owner, clientId, undefined, to);
    const write = also.length === 0 ? prepared.write : [...prepared.write, ...also];
    try {
      if (write.length > 0) await this.#store.commits.commit(write);
    } catch (error) {
      prepared.undo();
      throw error;
    }
    prepared.deliver();
  }

  /** What a new subscription gets: the retained messages it matches, with the retain flag (3.1.1, 3.3.1.3). */
  async sendRetained(session: Session, subscription: Subscription): Promise<void> {
    const { filter, qos } = subscription;
    const matching = this.#retained.matching(filter);
    if (!session.isPersistent || qos === 0) {
      session.deliverAll(this.#fitted(session, matching, subscription));
      return;
    }
    // The session outlives this connection, so what it is owed is stored before it is sent; page by page.
    const page: (Outgoing | Message)[] = [];
    const write: Write[number][] = [];
    for (const one of this.#fitted(session, matching, subscription)) {
      page.push(one);
      if ('seq' in one) write.push(rowOf(session, one));
      if (page.length === retainedPage)
        await this.#sendPage(session, page.splice(0), write.splice(0));
    }
    await this.#sendPage(session, page, write);
  }

  async #sendPage(session: Session, page: (Outgoing | Message)[], write: Write): Promise<void> {
    try {
      if (write.length > 0) await this.#store.commits.commit(write);
    } catch (error) {
      for (const one of page) {
        if ('seq' in one && one.packetId !== undefined) session.queue.forgetPacketId(one.packetId);
      }
      throw error;
    }
    for (const one of page) {
      if ('seq' in one) session.deliver(one);
      else session.deliverAll([one].values());
    }
  }

  *#fitted(
    session: Session,
    matching: Iterable<Retained>,
    { qos, identifier }: Subscription,
  ): Generator<Outgoing | Message> {
    const identifiers = identifier === undefined ? [] : [identifier];
    for (const retained of matching) {
      const granted = minQoS(qos, retained.qos);
      const message = withIdentifiers(retained, identifiers);
      if (granted === 0) {
        yield message;
        continue;
      }
      const outgoing = this.#copyFor(session, message, granted);
      if (outgoing !== undefined) yield outgoing;
    }
  }
}

const retainedPage = 64;

/** What telemetry mostly owes beside its own storing. */
export const nobody: Prepared = { write: [], deliver: () => undefined, undo: () => undefined };

/** The member of a group whose turn it is. */
const memberFor = (group: SharedGroup, qos: QoS): Subscriber<Session> | undefined => {
  const picked = group.pick(qos);
  if (picked === undefined) return undefined;
  const [session, subscription] = picked;
  return subscriberOf(session, [subscription]);
};

/** A live message as a subscriber gets it. */
const fit = (
  { retainAsPublished, identifiers }: Subscriber<Session>,
  isRetained: boolean,
  live: Message,
): Message =>
  withIdentifiers(retainAsPublished && isRetained ? { ...live, retain: true } : live, identifiers);

const withIdentifiers = (message: Message, identifiers: readonly number[]): Message =>
  identifiers.length === 0
    ? message
    : { ...message, properties: identified(message.properties, identifiers) };

const deliver = (
  live: Message,
  once: readonly (readonly [Session, Message])[],
  owed: readonly (readonly [Session, Outgoing])[],
): Promise<void> | undefined => {
  if (once.length > 0) {
    const head = publishHead({ ...live, qos: 0, dup: false });
    for (const [session, message] of once) {
      if (message === live) session.deliverOnce(message, head);
      else session.deliverOnce(message);
    }
  }
  let pressure: Promise<void> | undefined;
  for (const [session, outgoing] of owed) {
    session.deliver(outgoing);
    pressure ??= session.pressure();
  }
  return pressure;
};
