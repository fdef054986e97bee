/**
 * A client's socket as the protocol library sees it. Inward it hands on whole, checked packets, one bounded batch after the other, but
 * for those of the publish lane, and tells of them by the event `publishes`; outward it gathers what one turn of the event loop writes. A peer that does not read is bounded, and cut when it stays that way.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { InflightBudget } from './inflight-budget.js';
import { type PacketLimits, takePacket } from './packet-guard.js';
import type { PublishRequest } from './protocol.js';
import { isBarrier, isOfLane, PublishLane } from './publish-lane.js';
import type { TurnFlush } from './turn-flush.js';

export interface ClientStreamOptions extends PacketLimits {
  /** From accepting the socket to the accepted CONNECT, ms. */
  readonly connectTimeoutMs: number;
  /** Bytes and packets of one batch. */
  readonly maxBatchBytes: number;
  readonly maxBatchPackets: number;
  /** Bytes that may wait for the peer before it counts as congested. */
  readonly congestedBytes: number;
  /** Bytes that may wait at all. */
  readonly maxPendingBytes: number;
  /** How long a congested peer may take nothing, ms. */
  readonly drainTimeoutMs: number;
}

export interface ClientStreamHooks {
  /** The peer takes bytes again. */
  onDrain(): void;
  /** The broker cuts the connection, and why. */
  onCut(reason: string): void;
  /** A publish of QoS 0 or 1; `done` without an error lets it be acknowledged, with one the connection ends. */
  onPublish(message: PublishRequest, done: (error?: Error) => void): void;
  onFailed(error: Error): void;
}

const gatherBytes = 16_384;
/** Written anew for each, and copied as it is gathered. */
const puback = Buffer.from([0x40, 2, 0, 0]);
/** How long a connection that ends in order may take to hand over its last bytes, ms. */
const lingerMs = 1_000;

export class ClientStream extends Duplex {
  readonly #socket: Socket;
  readonly #shared: { readonly budget: InflightBudget; readonly flush: TurnFlush };
  readonly #options: ClientStreamOptions;
  readonly #hooks: ClientStreamHooks;
  readonly #connectTimer: NodeJS.Timeout;
  readonly #lane: PublishLane;
  #input: Buffer[] = [];
  #inputBytes = 0;
  #neededBytes = 0;
  #isFirst = true;
  #isReleased = false;
  #isMqtt5 = false;
  #isCut = false;
  /** The library waits for `readable`. */
  #isHungry = true;
  readonly #holds = new Set<Promise<void>>();
  #isPaused = false;
  #takenBytes = 0;
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;
  #lastGathered = 0;
  #isFlushing = false;
  #drainTimer: NodeJS.Timeout | undefined;
  #lastWritten = 0;

  constructor(
    socket: Socket,
    shared: { readonly budget: InflightBudget; readonly flush: TurnFlush },
    options: ClientStreamOptions,
    hooks: ClientStreamHooks,
  ) {
    super({ allowHalfOpen: false, emitClose: true });
    this.#socket = socket;
    this.#shared = shared;
    this.#options = options;
    this.#hooks = hooks;
    this.#lane = new PublishLane({
      publish: (message, done) => hooks.onPublish(message, done),
      acknowledge: (packetId) => this.#acknowledge(packetId),
      failed: (error) => {
        hooks.onFailed(error);
        this.destroy();
      },
      idle: () => {
        if (this.#isHungry) this.#giveBack();
        this.#offer();
      },
    });
    // mqtt-packet schedules an uncork for every packet it writes when there is a cork; gathering makes both needless.
    Object.defineProperty(this, 'cork', { value: undefined });
    this.#connectTimer = setTimeout(() => this.cut('CONNECT_TIMEOUT'), options.connectTimeoutMs);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('error', () => this.destroy());
    socket.on('end', () => this.destroy());
    socket.on('close', () => this.destroy());
  }

  /** Bytes the peer has not taken. */
  get pendingBytes(): number {
    return this.#gatheredBytes + this.#socket.writableLength;
  }

  get isCongested(): boolean {
    return this.pendingBytes > this.#options.congestedBytes;
  }

  /** The client is known: from here on its packets are handed on. */
  release(): void {
    this.#isReleased = true;
    clearTimeout(this.#connectTimer);
    this.#offer();
  }

  /** The client speaks MQTT 5: all of its packets are handed on, and looked at by who takes them. */
  becomeMqtt5(): void {
    this.#isMqtt5 = true;
  }

  /** Takes back the first packet, which `read` has given, for who is to read it after all. */
  unread(first: Buffer): void {
    this.#input.unshift(first);
    this.#inputBytes += first.length;
    this.#isFirst = true;
    this.#isHungry = true;
    this.#offer();
  }

  /** Hands on no further batch until then: a publisher slows down to its subscribers. */
  hold(until: Promise<void>): void {
    // Held for two reasons it goes on when neither holds any more; for one it is asked to wait by every message of a batch.
    if (this.#holds.has(until)) return;
    this.#holds.add(until);
    void until.then(() => {
      this.#holds.delete(until);
      this.#offer();
    });
  }

  cut(reason: string): void {
    if (this.destroyed || this.#isCut) return;
    this.#isCut = true;
    this.#hooks.onCut(reason);
    this.destroy();
  }

  /** The next batch, or null until `readable`. The library asks when it is done with the batch before; the lane has to be, too. */
  override read(size?: number): Buffer | null {
    if (size === 0) return null;
    let batch: Buffer | null = null;
    if (!this.#lane.isBusy) {
      do {
        this.#giveBack();
        batch = this.#nextBatch();
        // All of it was the lane's, and nothing of it takes time: QoS 0, mostly.
      } while (batch?.length === 0 && !this.#lane.isBusy);
    }
    this.#isHungry = batch === null || batch.length === 0;
    return this.#isHungry ? null : batch;
  }

  /** Gathers; always true, since who does not take it in is cut by its own rules and holds nobody up. */
  override write(chunk: unknown): boolean {
    if (typeof chunk === 'string') this.send(Buffer.from(chunk));
    else if (chunk instanceof Uint8Array) this.send(chunk);
    return true;
  }

  send(head: Uint8Array, payload?: Uint8Array): void {
    this.#gather(head);
    if (payload !== undefined && payload.length > 0) this.#gather(payload);
    if (this.pendingBytes > this.#options.maxPendingBytes) {
      this.cut('SUBSCRIBER_SLOW');
    } else if (!this.#isFlushing) {
      this.#isFlushing = true;
      this.#shared.flush.add(() => {
        this.#isFlushing = false;
        this.#flush();
      });
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#drainTimer);
    this.#input = [];
    this.#inputBytes = 0;
    this.#giveBack();
    this.#shared.budget.forget(this);
    this.#flush();
    if (this.isCongested || this.#socket.destroyed) {
      this.#socket.destroy();
    } else {
      // The last words, a refusal above all, are worth a moment.
      this.#socket.resume();
      // A client that still writes must not be reset before it has read why.
      if (this.#isMqtt5) this.#socket.end();
      else this.#socket.destroySoon();
      setTimeout(() => this.#socket.destroy(), lingerMs).unref();
    }
    done(error);
  }

  #receive(chunk: Buffer): void {
    if (this.destroyed) return;
    this.#input.push(chunk);
    this.#inputBytes += chunk.length;
    this.#offer();
    if (this.#inputBytes > 0 && this.#inputBytes >= this.#neededBytes && !this.destroyed) {
      this.#isPaused = true;
      this.#socket.pause();
    }
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  #offer(): void {
    if (this.destroyed || !this.#isHungry || this.#holds.size > 0 || this.#lane.isBusy) return;
    if (!this.#isFirst && !this.#isReleased) return;
    if (this.#inputBytes === 0 || this.#inputBytes < this.#neededBytes) this.#resume();
    else this.emit('readable');
  }

  #nextBatch(): Buffer | null {
    if (this.destroyed || this.#holds.size > 0 || (!this.#isFirst && !this.#isReleased))
      return null;
    if (this.#inputBytes === 0 || this.#inputBytes < this.#neededBytes) {
      this.#resume();
      return null;
    }
    const bytes = this.#input.length === 1 ? this.#input[0] : Buffer.concat(this.#input);
    if (bytes === undefined) return null;
    const ends = this.#cutBatch(bytes);
    const end = ends.at(-1);
    if (end === undefined || this.destroyed) {
      this.#keep(bytes);
      this.#resume();
      return null;
    }
    if (!this.#isFirst && !this.#shared.budget.take(this, end, () => this.#offer())) {
      this.#keep(bytes);
      return null;
    }
    this.#takenBytes = this.#isFirst ? 0 : end;
    this.#isFirst = false;
    this.#neededBytes = 0;
    this.#keep(bytes.subarray(end));
    if (!this.#isReleased || this.#isMqtt5) return bytes.subarray(0, end);
    const rest = this.#lane.take(bytes, ends);
    if (rest.length < end) this.emit('publishes');
    return rest;
  }

  /** The ends of the packets of a batch. */
  #cutBatch(bytes: Buffer): number[] {
    const { maxBatchBytes, maxBatchPackets } = this.#options;
    const ends: number[] = [];
    let end = 0;
    let hasBarrier = false;
    for (let packets = 0; packets < (this.#isFirst ? 1 : maxBatchPackets); packets += 1) {
      const taken = takePacket(bytes, end, this.#isFirst, this.#options, this.#isMqtt5);
      if (taken.kind === 'malformed') {
        this.cut(taken.why);
        return [];
      }
      if (taken.kind === 'incomplete') {
        if (end === 0) this.#neededBytes = taken.needed;
        break;
      }
      const first = bytes[end] ?? 0;
      if (end > 0 && (taken.end > maxBatchBytes || (hasBarrier && isOfLane(first)))) break;
      hasBarrier ||= !this.#isMqtt5 && isBarrier(first);
      end = taken.end;
      ends.push(end);
    }
    return ends;
  }

  #keep(bytes: Buffer): void {
    this.#input = bytes.length === 0 ? [] : [bytes];
    this.#inputBytes = bytes.length;
  }

  #giveBack(): void {
    if (this.#takenBytes > 0) this.#shared.budget.give(this.#takenBytes);
    this.#takenBytes = 0;
  }

  #acknowledge(packetId: number): void {
    if (this.destroyed) return;
    puback.writeUInt16BE(packetId, 2);
    this.send(puback);
  }

  #gather(bytes: Uint8Array): void {
    if (this.destroyed) return;
    if (bytes.length > gatherBytes / 2) {
      this.#flush();
      this.#toSocket(bytes);
      return;
    }
    if (this.#gatheredBytes + bytes.length > gatherBytes) this.#flush();
    const needed = this.#gatheredBytes + bytes.length;
    if (this.#gathered === undefined || this.#gathered.length < needed) {
      // Doubling from what the last turn took: acknowledgements alone stay within Node's pool of small buffers.
      let size = Math.max(this.#gathered === undefined ? this.#lastGathered : needed, 128);
      while (size < needed) size *= 2;
      const larger = Buffer.allocUnsafe(Math.min(size, gatherBytes));
      if (this.#gathered !== undefined) larger.set(this.#gathered.subarray(0, this.#gatheredBytes));
      this.#gathered = larger;
    }
    this.#gathered.set(bytes, this.#gatheredBytes);
    this.#gatheredBytes = needed;
  }

  #flush(): void {
    const gathered = this.#gathered;
    if (gathered === undefined || this.#gatheredBytes === 0) return;
    const bytes = gathered.subarray(0, this.#gatheredBytes);
    this.#lastGathered = this.#gatheredBytes;
    this.#gatheredBytes = 0;
    this.#gathered = undefined;
    this.#toSocket(bytes);
  }

  #toSocket(bytes: Uint8Array): void {
    if (this.#socket.destroyed || !this.#socket.writable) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > this.#options.congestedBytes)
      this.#drainTimer ??= this.#watch();
  }

  /** Cuts the peer when a whole timeout passes in which it took nothing. */
  #watch(): NodeJS.Timeout {
    this.#lastWritten = this.#socket.bytesWritten - this.#socket.writableLength;
    return setTimeout(() => {
      this.#drainTimer = undefined;
      const written = this.#socket.bytesWritten - this.#socket.writableLength;
      if (written === this.#lastWritten) this.cut('SUBSCRIBER_SLOW');
      else if (this.isCongested) this.#drainTimer = this.#watch();
    }, this.#options.drainTimeoutMs);
  }

  #drained(): void {
    clearTimeout(this.#drainTimer);
    this.#drainTimer = undefined;
    this.#hooks.onDrain();
  }
}
