/** Retained messages within a quota for each who sets them. */
import type { Append } from '@holdfast/provisioning/storage/write';
import { saveRetained } from './broker-rows.js';
import type { Message, QoS } from './message.js';
import { RetainedIndex } from './retained-index.js';

export interface Retained extends Message {
  readonly owner: string;
  readonly retain: true;
}

export interface RetainedQuota {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export type RetainedChange =
  | {
      readonly kind: 'stored';
      readonly append: Append;
      /** To be called once it is committed, or, when it could not be, `undo`. */
      kept(): void;
      undo(): void;
    }
  | { readonly kind: 'over_quota' };

interface Change {
  /** Undefined: deleted. */
  readonly after: Retained | undefined;
}

export class RetainedStore {
  readonly #index = new RetainedIndex<Retained>();
  readonly #used = new Map<string, { count: number; bytes: number }>();
  readonly #quotaOf: (owner: string) => RetainedQuota;
  /** By topic: what is on disk, and the changes that are on their way there. */
  readonly #unstored = new Map<string, { stored: Retained | undefined; pending: Change[] }>();

  constructor(quotaOf: (owner: string) => RetainedQuota) {
    this.#quotaOf = quotaOf;
  }

  get size(): number {
    return this.#index.size;
  }

  restore(row: { topic: string; payload: Uint8Array; qos: QoS; owner: string }): void {
    this.#put(row.topic, { ...row, retain: true });
  }

  /** Sets, or with an empty payload deletes, what a topic keeps; in memory at once, so that those behind it see its count. */
  set(message: Message, owner: string): RetainedChange {
    const { topic, qos } = message;
    const before = this.#index.get(topic);
    let after: Retained | undefined;
    if (message.payload.length > 0) {
      // A copy: the payload is a piece of a much larger buffer of the socket's.
      after = { topic, payload: Buffer.from(message.payload), qos, owner, retain: true };
      if (!this.#fits(after, before)) return { kind: 'over_quota' };
    }
    this.#put(topic, after);
    const changes = this.#unstored.get(topic) ?? { stored: before, pending: [] };
    const change = { after };
    changes.pending.push(change);
    this.#unstored.set(topic, changes);
    return {
      kind: 'stored',
      append: saveRetained({ topic, payload: message.payload, qos, owner }),
      kept: () => this.#settle(topic, change, true),
      undo: () => this.#settle(topic, change, false),
    };
  }

  /** What somebody set goes, from memory at once; the write is for the disk. */
  forget(owner: string): Append[] {
    if (!this.#used.has(owner)) return [];
    const own = [...this.#index.matching('#')].filter((one) => one.owner === owner);
    for (const { topic } of own) {
      // No change that fails now brings back what was before it.
      this.#unstored.delete(topic);
      this.#put(topic, undefined);
    }
    return own.map(({ topic, qos }) =>
      saveRetained({ topic, payload: new Uint8Array(), qos, owner }),
    );
  }

  matching(filter: string): Iterable<Retained> {
    return this.#index.matching(filter);
  }

  /** What is kept is the last change that was stored or still may be: they may fail together, and in any order. */
  #settle(topic: string, change: Change, isStored: boolean): void {
    const changes = this.#unstored.get(topic);
    const at = changes?.pending.indexOf(change) ?? -1;
    // A later one was stored before this was told: it counts.
    if (changes === undefined || at < 0) return;
    const wasLast = at === changes.pending.length - 1;
    if (isStored) {
      changes.stored = change.after;
      changes.pending.splice(0, at + 1);
    } else {
      changes.pending.splice(at, 1);
      const last = changes.pending.at(-1);
      if (wasLast) this.#put(topic, last === undefined ? changes.stored : last.after);
    }
    if (changes.pending.length === 0) this.#unstored.delete(topic);
  }

  #fits(after: Retained, before: Retained | undefined): boolean {
    const quota = this.#quotaOf(after.owner);
    const used = this.#used.get(after.owner) ?? { count: 0, bytes: 0 };
    const isOwn = before?.owner === after.owner;
    const count = used.count + (isOwn ? 0 : 1);
    const bytes = used.bytes + sizeOf(after) - (isOwn ? sizeOf(before) : 0);
    return count <= quota.maxMessages && bytes <= quota.maxBytes;
  }

  #put(topic: string, after: Retained | undefined): void {
    const before = this.#index.set(topic, after);
    if (before !== undefined) this.#count(before.owner, -1, -sizeOf(before));
    if (after !== undefined) this.#count(after.owner, 1, sizeOf(after));
  }

  #count(owner: string, count: number, bytes: number): void {
    const used = this.#used.get(owner) ?? { count: 0, bytes: 0 };
    const now = { count: used.count + count, bytes: used.bytes + bytes };
    if (now.count === 0) this.#used.delete(owner);
    else this.#used.set(owner, now);
  }
}

const sizeOf = (message: Message): number => message.payload.length + message.topic.length;
