/** What a session is owed with QoS 1 or 2: first what is in flight, then what waits, within a quota. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Message } from './message.js';

export interface Outgoing {
  /** The row of a persistent session's copy; rises in the order of the queue. */
  readonly seq: number;
  readonly qos: 1 | 2;
  readonly size: number;
  /** Kept from the first attempt until it is acknowledged, over connections and restarts (3.1.1, 4.4). */
  packetId: number | undefined;
  /** It may have been sent before. */
  isSent: boolean;
  /** PUBREC came: only PUBREL is still owed. */
  isReleased: boolean;
  /** Absent while it is held on disk alone. */
  message: Message | undefined;
  /** By the broker's elapsed time. */
  readonly expiresAt?: number | undefined;
  /** The shared subscription it came by: another of the group may have it. */
  readonly share?: string | undefined;
}

export interface QueueLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

const maxPacketId = 65_535;

export class OutgoingQueue {
  readonly #limits: QueueLimits;
  readonly #inflight = new Map<number, Outgoing>();
  readonly #packetIds = new Set<number>();
  #waiting: Outgoing[] = [];
  #head = 0;
  #bytes = 0;
  #lastPacketId = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#inflight.size + this.waitingCount;
  }

  get waitingCount(): number {
    return this.#waiting.length - this.#head;
  }

  get inflightCount(): number {
    return this.#inflight.size;
  }

  /** Packet ids that are given out: what is owed, and what is about to be. */
  get reservedCount(): number {
    return this.#packetIds.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Half of a quota is used. */
  get isHalfFull(): boolean {
    return this.length * 2 > this.#limits.maxMessages || this.#bytes * 2 > this.#limits.maxBytes;
  }

  /** Whether it has less than a quarter of a quota. */
  get isShort(): boolean {
    return this.length * 4 < this.#limits.maxMessages && this.#bytes * 4 < this.#limits.maxBytes;
  }

  /** Whether it is no more than half full with so much besides; with nothing in it there is room for whatever there is. */
  hasRoomFor(count: number, bytes: number): boolean {
    if (this.length === 0 && count === 1) return true;
    const { maxMessages, maxBytes } = this.#limits;
    return (this.length + count) * 2 <= maxMessages && (this.#bytes + bytes) * 2 <= maxBytes;
  }

  /** A packet id that nothing of this queue has; `forget` it when it is not used after all. Errors: STORE_OVERLOADED when all are taken. */
  reservePacketId(): number {
    if (this.#packetIds.size >= maxPacketId) {
      throw new HoldfastError('STORE_OVERLOADED', 'every packet id of a session is taken');
    }
    do {
      this.#lastPacketId = this.#lastPacketId >= maxPacketId ? 1 : this.#lastPacketId + 1;
    } while (this.#packetIds.has(this.#lastPacketId));
    this.#packetIds.add(this.#lastPacketId);
    return this.#lastPacketId;
  }

  /** Gives a message of this queue a packet id from outside. */
  assignPacketId(outgoing: Outgoing, packetId: number): void {
    outgoing.packetId = packetId;
    this.#packetIds.add(packetId);
  }

  forgetPacketId(packetId: number): void {
    this.#packetIds.delete(packetId);
  }

  /** Adds at the end; what had to go for it, the oldest that were not in flight, comes back. */
  push(outgoing: Outgoing): Outgoing[] {
    this.#waiting.push(outgoing);
    this.#bytes += outgoing.size;
    if (outgoing.packetId !== undefined) {
      this.#packetIds.add(outgoing.packetId);
      this.#lastPacketId = outgoing.packetId;
    }
    const dropped: Outgoing[] = [];
    while (this.length > this.#limits.maxMessages || this.#bytes > this.#limits.maxBytes) {
      const oldest = this.#shift();
      if (oldest === undefined) break;
      this.#forget(oldest);
      dropped.push(oldest);
    }
    return dropped;
  }

  /** The next that waits; `send` takes it into flight. */
  peek(): Outgoing | undefined {
    return this.#waiting[this.#head];
  }

  /** The next `count` that wait. */
  upcoming(count: number): Outgoing[] {
    return this.#waiting.slice(this.#head, this.#head + count);
  }

  /** Takes the next that waits into flight. */
  send(): Outgoing | undefined {
    const next = this.#shift();
    if (next === undefined) return undefined;
    next.packetId ??= this.reservePacketId();
    this.#inflight.set(next.packetId, next);
    return next;
  }

  /** Takes the next that waits away. */
  discard(): Outgoing | undefined {
    const next = this.#shift();
    if (next !== undefined) this.#forget(next);
    return next;
  }

  /** Takes those away that are meant, in flight or waiting, at most so many; their packet ids are theirs until they are forgotten. */
  take(isMeant: (outgoing: Outgoing) => boolean, most: number): Outgoing[] {
    const taken = new Set<Outgoing>();
    for (const outgoing of this.all()) {
      if (taken.size >= most) break;
      if (isMeant(outgoing)) taken.add(outgoing);
    }
    if (taken.size === 0) return [];
    for (const [packetId, outgoing] of [...this.#inflight]) {
      if (taken.has(outgoing)) this.#inflight.delete(packetId);
    }
    this.#waiting = this.#waiting.slice(this.#head).filter((outgoing) => !taken.has(outgoing));
    this.#head = 0;
    for (const { size } of taken) this.#bytes -= size;
    return [...taken];
  }

  inflight(): Iterable<Outgoing> {
    return this.#inflight.values();
  }

  /** In flight first, then what waits. */
  *all(): Generator<Outgoing> {
    yield* this.#inflight.values();
    yield* this.#waiting.slice(this.#head);
  }

  find(packetId: number): Outgoing | undefined {
    const found = this.#inflight.get(packetId);
    if (found !== undefined || !this.#packetIds.has(packetId)) return found;
    return this.upcoming(this.waitingCount).find((outgoing) => outgoing.packetId === packetId);
  }

  remove(outgoing: Outgoing): void {
    const { packetId } = outgoing;
    if (packetId !== undefined && this.#inflight.get(packetId) === outgoing) {
      this.#inflight.delete(packetId);
    } else {
      const at = this.#waiting.indexOf(outgoing, this.#head);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
    }
    this.#forget(outgoing);
  }

  clear(): void {
    this.#inflight.clear();
    this.#packetIds.clear();
    this.#waiting = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  #shift(): Outgoing | undefined {
    const next = this.#waiting[this.#head];
    if (next === undefined) return undefined;
    this.#head += 1;
    // Amortised: moving the rest down at each shift costs the whole length every time.
    if (this.#head >= 512 && this.#head * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return next;
  }

  #forget(outgoing: Outgoing): void {
    this.#bytes -= outgoing.size;
    if (outgoing.packetId !== undefined) this.#packetIds.delete(outgoing.packetId);
  }
}
