/**
 * One client's session: its subscriptions, what it is owed, and, while it is connected, the sending of it. A persistent one outlives
 * its connection and the program; a clean one ends with its connection and is never on disk.
 */
import { Inbox } from './inbox.js';
import type { Message } from './message.js';
import { type Outgoing, OutgoingQueue, type QueueLimits } from './outgoing-queue.js';
import type { PublishFields } from './publish-packet.js';
import type { Subscription } from './subscription-index.js';

/** The connection as a session needs it. */
export interface Outlet {
  /** Bytes wait that the peer does not take: QoS 0 is dropped and the rest waits in the queue until `onRelief`. */
  readonly isCongested: boolean;
  /** Unacknowledged messages that its client takes at a time. */
  readonly receiveMaximum: number;
  /** Writes a PUBLISH in the client's protocol. False when the client takes none that large. */
  publish(fields: PublishFields): boolean;
  /** Likewise with QoS 0; `head` is how MQTT 3.1.1 begins it, where that is at hand. */
  publishOnce(message: Message, head?: Uint8Array): boolean;
  /** Writes a PUBREL. */
  release(packetId: number): void;
  /** Whether its holder may have this topic: asked for every delivery, since a queue may be older than the right. */
  mayReceive(topic: string): boolean;
  cut(reason: string): void;
}

export type DiscardReason =
  | 'QUEUE_FULL'
  | 'SUBSCRIBER_SLOW'
  | 'NOT_AUTHORISED'
  | 'EXPIRED'
  | 'PACKET_TOO_LARGE';

export interface SessionHost {
  /** The broker's elapsed time. */
  readonly now: () => number;
  /** Reads back the messages that are held on disk alone. */
  load(outgoing: readonly Outgoing[]): Promise<void>;
  /** These are done with; their rows may go. */
  done(session: Session, outgoing: readonly Outgoing[]): void;
  dropped(
    session: Session,
    outgoing: readonly { readonly size: number }[],
    reason: DiscardReason,
  ): void;
}

export interface SessionLimits extends QueueLimits {
  /** Unacknowledged messages a client has at most at a time. */
  readonly maxInflight: number;
  /** Bytes of waiting messages of a persistent session that stay in memory; the others are read back from disk. */
  readonly maxHeldBytes: number;
  /** How long publishers wait for a subscriber whose queue is half full, ms, before they go on without it. */
  readonly patienceMs: number;
}

const loadBatch = 64;

export class Session {
  readonly clientId: string;
  readonly device: string | null;
  readonly isPersistent: boolean;
  /** Names its rows. */
  readonly key: number;
  readonly subscriptions = new Map<string, Subscription>();
  readonly inbox = new Inbox();
  readonly queue: OutgoingQueue;
  lastSeenAt = 0;
  /** How long it outlives its connection, ms. */
  expiryMs = Number.POSITIVE_INFINITY;
  /** The connection that has claimed it; it becomes the outlet when CONNACK is sent. */
  holder: Outlet | undefined;
  /** Nothing is owed to it any more. */
  isEnded = false;
  readonly #host: SessionHost;
  readonly #limits: SessionLimits;
  #outlet: Outlet | undefined;
  #isLoading = false;
  /** What was in flight when the client came, and was not sent again yet. */
  #resending: Outgoing[] = [];
  #heldBytes = 0;
  #isUnresponsive = false;
  /** Resolved when the queue is short again, or the patience over. */
  #relief: { promise: Promise<void>; resolve: () => void; timer: NodeJS.Timeout } | undefined;
  readonly #sources: Iterator<Outgoing | Message>[] = [];
  #onShort: (() => void) | undefined;

  constructor(
    host: SessionHost,
    who: Pick<Session, 'clientId' | 'device' | 'isPersistent' | 'key'>,
    limits: SessionLimits,
  ) {
    this.#host = host;
    this.#limits = limits;
    this.clientId = who.clientId;
    this.device = who.device;
    this.isPersistent = who.isPersistent;
    this.key = who.key;
    this.queue = new OutgoingQueue(limits);
  }

  get outlet(): Outlet | undefined {
    return this.#outlet;
  }

  /** The client is there: what was in flight is sent again, then what waits. */
  attach(outlet: Outlet): void {
    this.#outlet = outlet;
    this.#resending = [...this.queue.inflight()];
    this.pump();
  }

  detach(outlet: Outlet): void {
    if (this.holder === outlet) this.holder = undefined;
    if (this.#outlet !== outlet) return;
    this.#outlet = undefined;
    this.#resending = [];
    this.#sources.length = 0;
    this.#onShort = undefined;
    this.#relieve();
    // Offline, a copy on disk is enough.
    if (this.isPersistent) {
      for (const outgoing of this.queue.all()) outgoing.message = undefined;
      this.#heldBytes = 0;
    }
  }

  end(): void {
    this.isEnded = true;
    this.queue.clear();
    this.#relieve();
  }

  /** QoS 0: now or never. */
  deliverOnce(message: Message, head?: Uint8Array): void {
    const outlet = this.#outlet;
    if (outlet === undefined) return;
    let reason: DiscardReason | undefined;
    if (!outlet.mayReceive(message.topic)) reason = 'NOT_AUTHORISED';
    else if (outlet.isCongested) reason = 'SUBSCRIBER_SLOW';
    else if (!outlet.publishOnce(message, head)) reason = 'PACKET_TOO_LARGE';
    if (reason !== undefined) this.#host.dropped(this, [{ size: message.payload.length }], reason);
  }

  /** QoS 1 or 2, already on disk when the session is persistent. */
  deliver(outgoing: Outgoing): void {
    if (this.isEnded || (!this.isPersistent && this.#outlet === undefined)) return;
    if (this.isPersistent) {
      if (
        this.#outlet === undefined ||
        this.#heldBytes + outgoing.size > this.#limits.maxHeldBytes
      ) {
        outgoing.message = undefined;
      } else {
        this.#heldBytes += outgoing.size;
      }
    }
    const dropped = this.queue.push(outgoing);
    if (dropped.length > 0) {
      for (const old of dropped) this.#letGo(old);
      this.#host.dropped(this, dropped, 'QUEUE_FULL');
      this.#host.done(this, dropped);
    }
    this.pump();
  }

  /** Takes away what it is owed by a shared subscription and another may have: not what it has begun to get once only. */
  takeShared(share: string, most: number): Outgoing[] {
    const isMeant = ({ share: by, isReleased, isSent, qos }: Outgoing): boolean =>
      by === share && !isReleased && !(isSent && (qos === 2 || this.#outlet !== undefined));
    const taken = this.queue.take(isMeant, most);
    for (const { message, size } of taken) {
      if (this.isPersistent && message !== undefined) this.#heldBytes -= size;
    }
    return taken;
  }

  /** Sends these as room comes: retained messages, of which a filter may match more than any queue holds. */
  deliverAll(source: Iterator<Outgoing | Message>): void {
    this.#sources.push(source);
    this.pump();
  }

  /** PUBACK or PUBCOMP. */
  acknowledged(packetId: number): void {
    const outgoing = this.queue.find(packetId);
    if (outgoing === undefined || !outgoing.isSent) return;
    this.queue.remove(outgoing);
    this.#letGo(outgoing);
    this.#host.done(this, [outgoing]);
    if (!this.queue.isHalfFull) {
      this.#isUnresponsive = false;
      this.#relieve();
    }
    this.pump();
    const onShort = this.#onShort;
    if (onShort === undefined || !this.queue.isShort) return;
    this.#onShort = undefined;
    onShort();
  }

  /** Calls back once, when an acknowledgement leaves little to be owed; not after the connection is gone. */
  whenShort(onShort: () => void): void {
    this.#onShort = onShort;
  }

  /** PUBREC: from here on PUBREL alone is sent again. */
  released(packetId: number): Outgoing | undefined {
    const outgoing = this.queue.find(packetId);
    if (outgoing === undefined) return undefined;
    outgoing.isReleased = true;
    return outgoing;
  }

  /**
   * What a publisher waits for before its next message, when this subscriber is connected and behind; a client that does not catch up
   * within the patience is waited for no more until it does.
   */
  pressure(): Promise<void> | undefined {
    if (this.#outlet === undefined || this.#isUnresponsive || !this.queue.isHalfFull)
      return undefined;
    if (this.#relief === undefined) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      const timer = setTimeout(() => {
        this.#isUnresponsive = true;
        this.#relieve();
      }, this.#limits.patienceMs);
      this.#relief = { promise, resolve, timer };
    }
    return this.#relief.promise;
  }

  /** Sends what the window and the connection take. */
  pump(): void {
    const outlet = this.#outlet;
    if (this.#isLoading) return;
    while (outlet !== undefined && outlet === this.#outlet && !outlet.isCongested) {
      const again = this.#nextAgain();
      // What was in flight on another connection counts again as it is sent again (MQTT 5, 4.9).
      const sent = this.queue.inflightCount - this.#resending.length;
      if (sent >= Math.min(this.#limits.maxInflight, outlet.receiveMaximum)) return;
      if (again !== undefined) {
        if (isOnDiskAlone(again)) {
          void this.#load(this.#resending.slice(0, loadBatch).filter(isOnDiskAlone));
          return;
        }
        this.#resending.shift();
        this.#transmit(outlet, again);
        continue;
      }
      const next = this.queue.peek();
      if (next === undefined) {
        if (!this.#pull()) return;
        continue;
      }
      if (this.#isExpired(next)) {
        this.queue.discard();
        this.#drop(next, 'EXPIRED');
        continue;
      }
      if (isOnDiskAlone(next)) {
        const missing = this.queue.upcoming(loadBatch).filter(isOnDiskAlone);
        void this.#load(missing);
        return;
      }
      this.queue.send();
      this.#transmit(outlet, next);
    }
  }

  #transmit(outlet: Outlet, outgoing: Outgoing): void {
    const { packetId, message } = outgoing;
    if (packetId === undefined) return;
    if (outgoing.isReleased) {
      outlet.release(packetId);
      return;
    }
    if (message === undefined) return;
    const isAllowed = outlet.mayReceive(message.topic);
    const dup = outgoing.isSent;
    outgoing.isSent = true;
    const { topic, payload, retain, properties, expiresAt } = message;
    const { qos } = outgoing;
    const fields = { topic, payload, retain, properties, expiresAt, qos, packetId, dup };
    if (isAllowed && outlet.publish(fields)) return;
    this.queue.remove(outgoing);
    this.#drop(outgoing, isAllowed ? 'PACKET_TOO_LARGE' : 'NOT_AUTHORISED');
  }

  /** What never began to be delivered: a client that has begun to get it gets all of it (MQTT 5, 3.3.2.3.3). */
  #isExpired({ expiresAt, isReleased }: Outgoing): boolean {
    return expiresAt !== undefined && !isReleased && expiresAt <= this.#host.now();
  }

  /** Of one that is no longer in the queue. */
  #drop(outgoing: Outgoing, reason: DiscardReason): void {
    this.#letGo(outgoing);
    this.#host.dropped(this, [outgoing], reason);
    this.#host.done(this, [outgoing]);
  }

  /** Takes the next of the first source; false when there is none. */
  #pull(): boolean {
    const source = this.#sources[0];
    if (source === undefined) return false;
    const next = source.next();
    if (next.done === true) {
      this.#sources.shift();
    } else if ('seq' in next.value) {
      this.queue.push(next.value);
    } else {
      this.deliverOnce(next.value);
    }
    return true;
  }

  /** What was in flight goes first, in its order (3.1.1, 4.6); what was acknowledged meanwhile does not. */
  #nextAgain(): Outgoing | undefined {
    for (;;) {
      const [next] = this.#resending;
      if (next?.packetId === undefined || this.queue.find(next.packetId) === next) return next;
      this.#resending.shift();
    }
  }

  async #load(missing: readonly Outgoing[]): Promise<void> {
    const outlet = this.#outlet;
    this.#isLoading = true;
    try {
      await this.#host.load(missing);
    } catch {
      // Another client may have come meanwhile: it waits for the same.
      (this.#outlet ?? outlet)?.cut('its queue could not be read');
      return;
    } finally {
      this.#isLoading = false;
    }
    for (const outgoing of missing) {
      if (isOnDiskAlone(outgoing)) this.queue.remove(outgoing);
      else if (this.#outlet === undefined) outgoing.message = undefined;
      else this.#heldBytes += outgoing.size;
    }
    this.pump();
  }

  #letGo(outgoing: Outgoing): void {
    if (this.isPersistent && outgoing.message !== undefined) this.#heldBytes -= outgoing.size;
    outgoing.message = undefined;
  }

  #relieve(): void {
    if (this.#relief === undefined) return;
    clearTimeout(this.#relief.timer);
    this.#relief.resolve();
    this.#relief = undefined;
  }
}

const isOnDiskAlone = ({ message, isReleased }: Outgoing): boolean =>
  message === undefined && !isReleased;
