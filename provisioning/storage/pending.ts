/** What waits in the commit queue, in the order it came, bounded in bytes. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { exactRows } from './append-rows.js';
import { type AppendTable, isAppend, type Write } from './write.js';

export interface PendingWrite {
  readonly kind: 'write';
  readonly write: Write;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
}

export interface PendingTransact {
  readonly kind: 'transact';
  readonly bytes: number;
  /** Runs it in the open transaction; what it returns tells the caller, and is called after the COMMIT. */
  readonly run: () => Promise<() => void>;
  readonly reject: (error: HoldfastError) => void;
}

/** Writes, and then transacts that came after them: a transact is never run twice, so no write may follow it in a group. */
export interface Group {
  readonly writes: readonly PendingWrite[];
  readonly transacts: readonly PendingTransact[];
}

export interface PendingLimits {
  readonly maxGroupWrites: number;
  readonly maxGroupBytes: number;
  readonly maxPendingBytes: number;
}

/** What an entry costs beside its parameters. */
const entryBytes = 128;

export class Pending {
  readonly #limits: PendingLimits;
  #entries: (PendingWrite | PendingTransact)[] = [];
  #waitingBytes = 0;
  #underWayBytes = 0;
  #transactCount = 0;
  #roomWaiters: (() => void)[] = [];

  constructor(limits: PendingLimits) {
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get isFull(): boolean {
    return this.#waitingBytes + this.#underWayBytes >= this.#limits.maxPendingBytes;
  }

  /** Undefined when it was taken, else why not. */
  add(
    write: Write,
    resolve: () => void,
    reject: (error: HoldfastError) => void,
  ): HoldfastError | undefined {
    const bytes = sizeOf(write);
    return this.#push({ kind: 'write', write, bytes, resolve, reject });
  }

  /** Undefined when it was taken, else why not. */
  addTransact(transact: Omit<PendingTransact, 'kind' | 'bytes'>): HoldfastError | undefined {
    return this.#push({ kind: 'transact', bytes: entryBytes, ...transact });
  }

  /** The next group. Its bytes count until `settled`. */
  take(): Group {
    const { maxGroupWrites, maxGroupBytes } = this.#limits;
    const isAll =
      this.#transactCount === 0 &&
      this.#entries.length <= maxGroupWrites &&
      this.#waitingBytes <= maxGroupBytes;
    const count = isAll ? this.#entries.length : this.#groupLength();
    const taken = count === this.#entries.length ? this.#entries : this.#entries.splice(0, count);
    if (taken === this.#entries) this.#entries = [];
    const writes: PendingWrite[] = [];
    const transacts: PendingTransact[] = [];
    for (const entry of taken) {
      this.#waitingBytes -= entry.bytes;
      this.#underWayBytes += entry.bytes;
      if (entry.kind === 'write') writes.push(entry);
      else transacts.push(entry);
    }
    this.#transactCount -= transacts.length;
    return { writes, transacts };
  }

  /** Whether all that waits are rows of one table, few enough for one INSERT. */
  get isOneInsert(): boolean {
    if (this.#transactCount > 0 || this.#entries.length > exactRows) return false;
    let into: AppendTable | undefined;
    let rows = 0;
    for (const entry of this.#entries) {
      if (entry.kind === 'transact') return false;
      for (const part of entry.write) {
        if (!isAppend(part) || part.into !== (into ?? part.into)) return false;
        into = part.into;
        rows++;
      }
    }
    return rows > 0 && rows <= exactRows;
  }

  /** Puts transacts that were taken but not run back to the front. */
  putBack(transacts: readonly PendingTransact[]): void {
    this.#entries.unshift(...transacts);
    this.#transactCount += transacts.length;
    for (const { bytes } of transacts) {
      this.#waitingBytes += bytes;
      this.#underWayBytes -= bytes;
    }
  }

  /** These were answered. */
  settled(entries: readonly { readonly bytes: number }[]): void {
    for (const { bytes } of entries) this.#underWayBytes -= bytes;
    if (this.#roomWaiters.length === 0 || this.isFull) return;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const wake of waiters) wake();
  }

  async room(signal?: AbortSignal): Promise<void> {
    while (this.isFull) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        signal?.addEventListener('abort', wake, { once: true });
        this.#roomWaiters.push(wake);
      });
    }
  }

  #push(entry: PendingWrite | PendingTransact): HoldfastError | undefined {
    const total = this.#waitingBytes + this.#underWayBytes + entry.bytes;
    if (total > 2 * this.#limits.maxPendingBytes) {
      return new HoldfastError('STORE_OVERLOADED', `${total} bytes would wait to be stored`);
    }
    this.#entries.push(entry);
    this.#waitingBytes += entry.bytes;
    if (entry.kind === 'transact') this.#transactCount++;
    return undefined;
  }

  #groupLength(): number {
    const { maxGroupWrites, maxGroupBytes } = this.#limits;
    let bytes = 0;
    let hasTransact = false;
    let count = 0;
    for (const entry of this.#entries) {
      bytes += entry.bytes;
      if (count > 0 && (count >= maxGroupWrites || bytes > maxGroupBytes)) break;
      if (entry.kind === 'transact') hasTransact = true;
      else if (hasTransact) break;
      count++;
    }
    return count;
  }
}

/** Throws where the shape of a row does not fit its table: found here, it fails its caller alone. */
function sizeOf(write: Write): number {
  let bytes = entryBytes;
  for (let at = 0; at < write.length; at++) {
    const part = write[at] as Write[number]; // below write.length
    const values = isAppend(part) ? part.row : part.params;
    if (isAppend(part) && part.row.length !== part.into.columns.length) {
      throw new HoldfastError(
        'INTERNAL',
        `A row of ${part.row.length} values for ${part.into.columns.length} columns of ${part.into.table}`,
      );
    }
    if (values === undefined) continue;
    for (let index = 0; index < values.length; index++) {
      const value = values[index];
      if (typeof value === 'string') bytes += value.length;
      else bytes += value instanceof Uint8Array ? value.byteLength : 8;
    }
  }
  return bytes;
}
