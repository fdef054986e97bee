/** Retained messages within a quota for each who sets them. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Append } from '@holdfast/provisioning/storage/write';
import type { Wait } from '@holdfast/provisioning/time/wait';
import type { DropEvent } from './broker.js';
import { type RetainedRow, saveRetained } from './broker-rows.js';
import { Deadlines } from './deadlines.js';
import type { Message } from './message.js';
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

export interface RetainedExpiry {
  /** The broker's elapsed time. */
  readonly now: () => number;
  readonly wait?: Wait;
  /** It is forgotten as soon as its deletion is stored. */
  readonly onExpired: (retained: Retained, deletion: RetainedChange) => void;
}

/** With the quotas of the broker; what expires is told and goes from the disk. */
export const openRetained = (
  deps: {
    readonly store: Pick<Store, 'commits'>;
    readonly log: StoreLog;
    readonly elapsed: () => number;
    readonly wait?: Wait;
    readonly onDropped: (event: DropEvent) => void;
  },
  limits: { readonly deviceRetained: RetainedQuota; readonly otherRetained: RetainedQuota },
): RetainedStore => {
  const { elapsed: now, wait } = deps;
  const quotaOf = (owner: string): RetainedQuota =>
    owner.startsWith('device:') ? limits.deviceRetained : limits.otherRetained;
  return new RetainedStore(quotaOf, {
    ...{ now, ...(wait !== undefined && { wait }) },
    onExpired: ({ owner, payload }, deletion) => {
      const clientId = owner.slice(owner.indexOf(':') + 1);
      deps.onDropped({ clientId, count: 1, bytes: payload.length, reason: 'EXPIRED' });
      if (deletion.kind === 'over_quota') return;
      deps.store.commits.commit([deletion.append]).then(deletion.kept, (error: unknown) => {
        deletion.undo();
        deps.log.warn({ reason: messageOf(error) }, 'an expired message stays stored');
      });
    },
  });
};

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

  readonly #expiry: RetainedExpiry | undefined;
  readonly #expiring: Deadlines<string> | undefined;

  /** Without `expiry` nothing expires. */
  constructor(quotaOf: (owner: string) => RetainedQuota, expiry?: RetainedExpiry) {
    this.#quotaOf = quotaOf;
    this.#expiry = expiry;
    this.#expiring =
      expiry === undefined ? undefined : new Deadlines(expiry, (topic) => this.#expire(topic));
  }

  get size(): number {
    return this.#index.size;
  }

  restore(row: RetainedRow): void {
    const { topic, payload, qos, owner, properties, expiresAt } = row;
    this.#put(topic, {
      ...{ topic, payload, qos, owner, retain: true },
      ...(properties !== null && { properties }),
      ...(expiresAt !== null && { expiresAt }),
    });
  }

  /** Sets, or with an empty payload deletes, what a topic keeps; in memory at once, so that those behind it see its count. */
  set(message: Message, owner: string): RetainedChange {
    const { topic, qos, properties, expiresAt } = message;
    const before = this.#index.get(topic);
    let after: Retained | undefined;
    if (message.payload.length > 0) {
      // A copy: the payload is a piece of a much larger buffer of the socket's.
      after = {
        ...{ topic, payload: Buffer.from(message.payload), qos, owner, retain: true },
        ...(properties !== undefined && { properties: Buffer.from(properties) }),
        ...(expiresAt !== undefined && { expiresAt }),
      };
      if (!this.#fits(after, before)) return { kind: 'over_quota' };
    }
    this.#put(topic, after);
    const changes = this.#unstored.get(topic) ?? { stored: before, pending: [] };
    const change = { after };
    changes.pending.push(change);
    this.#unstored.set(topic, changes);
    return {
      kind: 'stored',
      append: saveRetained({
        ...{ topic, qos, owner, properties, expiresAt },
        payload: message.payload,
      }),
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

  /** What a filter matches and has not expired; messages may come and go while it is walked. */
  *matching(filter: string): Generator<Retained> {
    for (const one of this.#index.matching(filter)) {
      if (one.expiresAt === undefined || one.expiresAt > (this.#expiry?.now() ?? 0)) yield one;
    }
  }

  close(): void {
    this.#expiring?.close();
  }

  #expire(topic: string): void {
    const retained = this.#index.get(topic);
    if (retained?.expiresAt === undefined) return;
    const { qos, owner } = retained;
    const payload = new Uint8Array();
    this.#expiry?.onExpired(retained, this.set({ topic, payload, qos, retain: true }, owner));
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
    if (after?.expiresAt !== undefined) this.#expiring?.set(topic, after.expiresAt);
    else if (before?.expiresAt !== undefined) this.#expiring?.delete(topic);
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

const sizeOf = (message: Message): number =>
  message.payload.length + message.topic.length + (message.properties?.length ?? 0);
