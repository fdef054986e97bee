/**
 * A small record that people may read (identity, enrolment, slots): a JSON file kept by lowdb through an adapter of ours that writes a
 * temporary file, syncs it, keeps the version before as `<file>.previous`, and syncs the directory.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from './store.js';

export interface RecordOptions<T> {
  readonly path: string;
  /** Makes a value of what the file holds; throws when it is none. */
  readonly parse: (value: unknown) => T;
  /** The value before the first write. */
  readonly initial: T;
  readonly log: StoreLog;
  /** Permissions of the file; by default only its owner may read it. */
  readonly mode?: number;
  readonly now?: () => number;
}

export interface StoredRecord<T> {
  readonly data: Readonly<T>;
  /** Set when this open found a torn file and took the version before. */
  readonly recovered?: { readonly reason: string; readonly movedTo: string };
  /** Resolves when the changed value is on disk; updates run one after the other, each on the value before. `change` returns the new value. */
  update(change: (data: Readonly<T>) => T): Promise<void>;
}

/** Opens a record. A torn file is put aside and the version before loads; STORE_CORRUPT when that is torn too. */
export async function openRecord<T>(_options: RecordOptions<T>): Promise<StoredRecord<T>> {
  throw new HoldfastError('INTERNAL', 'not yet built');
}
