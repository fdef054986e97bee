/**
 * A lane of the journal as the link reads it: sealed batches after a position, acknowledgements back. `audit` and `state` lie in the
 * site's database, `telemetry` in its own; the link treats them alike.
 */
import type { LaneName } from '@holdfast/protos/link/journal-entries';

/** A place in a log: everything up to `seq`, and the hash chain there; `seq` 0 with an empty chain before the first. */
export interface Position {
  readonly seq: number;
  readonly chain: Uint8Array;
}

/** Entries in order without a hole. They are sealed: on disk, with the chain at their end, and never changed again. */
export interface SealedBatch {
  readonly log: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly previousChain: Uint8Array;
  readonly chain: Uint8Array;
  readonly count: number;
  /** Canonical JSON of the array of entries. */
  readonly entries: string;
}

export interface Lane {
  readonly lane: LaneName;
  /** The name of the log that is written now. */
  readonly log: string;
  /** The last sealed entry. */
  readonly sealed: Position;
  /** The last entry that is known to be there, sealed or not. */
  readonly last: number;
  /** The last entry that the control plane is known to have. */
  readonly acknowledged: number;
  /** The chain at a position where a batch once ended, or undefined when none did or it is pruned. */
  chainAt(seq: number): Promise<Uint8Array | undefined>;
  /** The next entries after a position of this log, as many as fit, at least one; seals what is not yet. Undefined when there are none. */
  read(after: Position, maxBytes: number): Promise<SealedBatch | undefined>;
  /** The control plane has everything up to `seq` on its disk. */
  acknowledge(seq: number): Promise<void>;
  /** The control plane stands at `seq`, maybe before what it once acknowledged: it was restored and gets the rest again. */
  resume(seq: number): Promise<void>;
  /** Gives the log up for a new one, in which everything that is kept is sent again. */
  startNewLog(reason: string): Promise<void>;
  /** Entries that the control plane is not known to have. */
  backlog(): number;
  /** Looks whether there are new entries, for those whose commits do not tell. */
  refresh(): Promise<void>;
  /** Told after commits that brought new entries. Returns how to stop it. */
  onAppended(listener: () => void): () => void;
}
