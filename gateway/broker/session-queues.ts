/** The copies of messages that sessions are owed: made, read back, done with, and the QoS 2 handshakes over them; kept in the store. */
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { DropEvent } from './broker.js';
import {
  dequeue,
  enqueue,
  queuedOverheadBytes,
  readQueued,
  removeInbox,
  saveQueueState,
} from './broker-rows.js';
import type { Message } from './message.js';
import type { Outgoing } from './outgoing-queue.js';
import type { Session, SessionHost } from './session.js';

export interface QueueDependencies {
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly log: StoreLog;
  /** The broker's elapsed time. */
  readonly elapsed: () => number;
  readonly onDropped: (event: DropEvent) => void;
}

export class SessionQueues implements SessionHost {
  readonly now: () => number;
  readonly #deps: QueueDependencies;
  #lastSeq = 0;
  #doneSeqs: number[] = [];
  #flushing: Promise<void> | undefined;

  constructor(deps: QueueDependencies) {
    this.#deps = deps;
    this.now = deps.elapsed;
  }

  /** Rows up to this one are there from the last run. */
  goOnFrom(seq: number): void {
    this.#lastSeq = Math.max(this.#lastSeq, seq);
  }

  /** A copy for this session, not yet in its queue. */
  outgoing(
    session: Session,
    message: Message,
    qos: 1 | 2,
    share?: string,
  ): Outgoing & { readonly packetId: number } {
    this.#lastSeq += 1;
    return {
      seq: this.#lastSeq,
      qos,
      size: sizeOf(message),
      packetId: session.queue.reservePacketId(),
      isSent: false,
      isReleased: false,
      message,
      expiresAt: message.expiresAt,
      share,
    };
  }

  /** PUBREC came: kept, so that a restart sends PUBREL and not the message again. False when there is no such message. */
  async released(session: Session, packetId: number): Promise<boolean> {
    const outgoing = session.released(packetId);
    if (outgoing === undefined) return false;
    if (session.isPersistent) {
      await this.#deps.store.commits.commit([saveQueueState(outgoing.seq, packetId, 1)]);
    }
    return true;
  }

  /** PUBREL came; committed before PUBCOMP, since the client may use the packet id for another message after it. */
  async completed(session: Session, packetId: number): Promise<void> {
    if (session.isPersistent) {
      await this.#deps.store.commits.commit([removeInbox(session.key, packetId)]);
    }
    session.inbox.delete(packetId);
  }

  async load(outgoing: readonly Outgoing[]): Promise<void> {
    if (outgoing.length === 0) return;
    const bySeq = new Map(outgoing.map((one) => [one.seq, one]));
    for (const row of await readQueued(this.#deps.store, [...bySeq.keys()])) {
      const one = bySeq.get(row.seq);
      if (one === undefined) continue;
      one.message = {
        topic: row.topic,
        payload: row.payload,
        qos: one.qos,
        retain: row.retain === 1,
        ...(row.properties !== null && { properties: row.properties }),
        ...(row.expiresAt !== null && { expiresAt: row.expiresAt }),
      };
    }
  }

  done(session: Session, outgoing: readonly Outgoing[]): void {
    if (!session.isPersistent) return;
    for (const { seq } of outgoing) this.#doneSeqs.push(seq);
    this.#flushing ??= this.#flushDone();
  }

  dropped(
    session: Session,
    outgoing: readonly { readonly size: number }[],
    reason: DropEvent['reason'],
  ): void {
    const bytes = outgoing.reduce((sum, { size }) => sum + size, 0);
    this.#deps.onDropped({ clientId: session.clientId, count: outgoing.length, bytes, reason });
  }

  /** Resolves when the acknowledgements so far are stored. */
  async close(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  /** Deliveries that are done with go in one statement for many; lost with a crash they are only delivered again. */
  async #flushDone(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#doneSeqs.length > 0) {
      const seqs = this.#doneSeqs;
      this.#doneSeqs = [];
      await this.#deps.store.commits
        .commit([dequeue(seqs)])
        .catch((error: unknown) =>
          this.#deps.log.warn(
            { error, count: seqs.length },
            'delivered messages stay queued on disk',
          ),
        );
    }
    this.#flushing = undefined;
  }
}

const sizeOf = ({ payload, topic, properties }: Message): number =>
  payload.length + Buffer.byteLength(topic) + (properties?.length ?? 0) + queuedOverheadBytes;

/** The row of a copy that is in memory. */
export const rowOf = (session: Session, outgoing: Outgoing): Write[number] => {
  const message = outgoing.message ?? nothing;
  // Member by member: it is done for every copy, and spreading costs more than all the rest of it.
  return enqueue({
    seq: outgoing.seq,
    session: session.key,
    packetId: outgoing.packetId ?? null,
    qos: outgoing.qos,
    retain: message.retain,
    topic: message.topic,
    payload: message.payload,
    properties: message.properties,
    expiresAt: outgoing.expiresAt,
    share: outgoing.share,
  });
};

const nothing: Message = { topic: '', payload: new Uint8Array(), qos: 0, retain: false };
