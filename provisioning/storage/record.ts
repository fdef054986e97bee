/**
 * A small record that people may read (identity, enrolment, slots): a JSON file kept by lowdb through an adapter of ours, which never
 * writes over what is there and keeps the version before.
 */
import { Low } from 'lowdb';
import { RecordFile, type Recovered } from './record-file.js';
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
  readonly recovered?: Recovered;
  /** Resolves when the changed value is on disk; updates run one after the other, each on the value before. `change` returns the new value. */
  update(change: (data: Readonly<T>) => T): Promise<void>;
}

/** Opens a record. A torn file is put aside and the version before loads; STORE_CORRUPT when that is torn too, or there is none. */
export async function openRecord<T>(options: RecordOptions<T>): Promise<StoredRecord<T>> {
  const { path, parse, initial, log, mode = 0o600, now = Date.now } = options;
  const file = new RecordFile<T>({ path, parse, mode, now });
  const low = new Low<T>(file, initial);
  await low.read();
  const { recovered } = file;
  if (recovered !== undefined)
    log.error({ path, ...recovered }, 'A torn record was put aside; the version before is used');
  let tail: Promise<void> = Promise.resolve();
  return {
    get data() {
      return low.data;
    },
    ...(recovered === undefined ? {} : { recovered }),
    update(change) {
      const done = tail.then(async () => {
        const changed = parse(change(low.data));
        await file.write(changed);
        // Only what is on disk is shown.
        low.data = changed;
      });
      tail = done.catch(() => undefined);
      return done;
    },
  };
}
