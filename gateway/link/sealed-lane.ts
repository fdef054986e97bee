/**
 * A lane of the journal over its table: entries are sealed when they are first read for sending.
 *
 * Sealing is writing down, before the batch leaves, how far the log is fixed and its chain there. Only the ends of batches are
 * written: a chain a row would cost a rewrite of every row, and the control plane only ever stands where a batch ended.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { firstSeqOf } from '@holdfast/protos/link/journal-batch';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { chainAfter, chainStart } from '@holdfast/protos/semantics/journal-chain';
import type { CommitQueue } from '@holdfast/provisioning/storage/commit-queue';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Lane, Position, SealedBatch } from './lane.js';

/** The tables of every database that holds lanes, beside one `journal_<lane>` for each (see `laneTable`). */
export const laneTables = `
CREATE TABLE lane_positions (
  lane TEXT PRIMARY KEY,
  log TEXT NOT NULL,
  sealed_seq INTEGER NOT NULL,
  sealed_chain BLOB NOT NULL,
  acknowledged INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE lane_seals (
  lane TEXT NOT NULL,
  seq INTEGER NOT NULL,
  chain BLOB NOT NULL,
  PRIMARY KEY (lane, seq)
) WITHOUT ROWID;
`;

/** AUTOINCREMENT: a number is never used twice, also when everything was pruned. `body` is canonical JSON. */
export const laneTable = (lane: LaneName): string => `
CREATE TABLE journal_${lane} (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL
);
`;

export interface SealedLaneDeps {
  readonly store: { readonly read: Pick<Database, 'all' | 'get'>; readonly commits: CommitQueue };
  readonly clock: Clock;
}

/** Which acknowledged entries may go. */
export interface PruneLimits {
  /** Those committed before, epoch ms. */
  readonly before: number;
  /** And of the others all but so many. */
  readonly keepEntries: number;
}

interface PositionRow {
  log: string;
  sealed_seq: number;
  sealed_chain: Uint8Array;
  acknowledged: number;
}

interface EntryRow {
  seq: number;
  at: number;
  kind: string;
  body: string;
}

/** Rows looked at for one batch; with the bytes they bound what a read takes. */
const maxBatchRows = 8192;
/** Entries taken out in one transaction: everybody's commits wait for it. */
const pruneAtOnce = 5_000;
/** What an entry takes beside its body. */
const entryOverhead = 64;

export class SealedLane implements Lane {
  readonly lane: LaneName;
  readonly #deps: SealedLaneDeps;
  readonly #listeners = new Set<() => void>();
  #log: string;
  #sealed: Position;
  #acknowledged: number;
  #last: number;
  #turn: Promise<unknown> = Promise.resolve();

  /** Use `openSealedLane`. */
  constructor(deps: SealedLaneDeps, lane: LaneName, row: PositionRow, last: number) {
    this.#deps = deps;
    this.lane = lane;
    this.#log = row.log;
    this.#sealed = { seq: row.sealed_seq, chain: row.sealed_chain };
    this.#acknowledged = row.acknowledged;
    this.#last = last;
  }

  get log(): string {
    return this.#log;
  }

  get sealed(): Position {
    return this.#sealed;
  }

  get last(): number {
    return this.#last;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** An estimate: numbers that `dropped` entries stand for count as entries. */
  backlog(): number {
    return Math.max(0, this.#last - this.#acknowledged);
  }

  onAppended(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells the lane that so many entries were committed; a count that is off is set right by `refresh`. */
  appended(count: number): void {
    this.#last += count;
    for (const listener of this.#listeners) listener();
  }

  async chainAt(seq: number): Promise<Uint8Array | undefined> {
    if (seq === 0) return chainStart;
    if (seq === this.#sealed.seq) return this.#sealed.chain;
    const sql = 'SELECT chain FROM lane_seals WHERE lane = ? AND seq = ?';
    const row = await this.#deps.store.read.get<{ chain: Uint8Array }>(sql, [this.lane, seq]);
    return row?.chain;
  }

  async read(after: Position, maxBytes: number): Promise<SealedBatch | undefined> {
    try {
      return await this.#read(after, maxBytes);
    } catch (error) {
      if (error instanceof Hole) await this.#tellOf(error);
      throw error;
    }
  }

  /** Entries can only be gone when the file was damaged. They are accounted for, so that the others can be sent at all. */
  async #tellOf({ from, to }: Hole): Promise<void> {
    const [kind, body] =
      this.lane === 'telemetry'
        ? ['dropped', { from, to, points: to - from + 1, reason: 'damage' }]
        : ['compacted', { from, to }];
    await this.#deps.store.commits.commit([
      {
        sql: `INSERT OR IGNORE INTO journal_${this.lane} (seq, at, kind, body) VALUES (?, ?, ?, ?)`,
        params: [to, this.#deps.clock.now(), kind, canonicalJson(body)],
      },
    ]);
    // What was sealed had them in its chain.
    if (from <= this.#sealed.seq) await this.startNewLog('entries are gone');
  }

  async #read(after: Position, maxBytes: number): Promise<SealedBatch | undefined> {
    // What is sealed never changes; the rest is held still while it is read and fixed.
    if (after.seq < this.#sealed.seq) {
      const batch = await this.#gather(after, maxBytes, this.#sealed.seq);
      if (batch) await this.#sealAgain(batch);
      return batch;
    }
    return this.exclusively(async () => {
      const batch = await this.#gather(after, maxBytes);
      if (batch) await this.#seal(batch);
      return batch;
    });
  }

  /** Whoever changes entries that are not sealed (to drop or compact them) does so in here, where nothing is being sealed. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Looks whether there are new entries, for those whose commits do not tell. */
  async refresh(): Promise<void> {
    const before = this.#last;
    const sql = `SELECT max(seq) AS last FROM journal_${this.lane}`;
    const row = await this.#deps.store.read.get<{ last: number | null }>(sql);
    const last = Math.max(row?.last ?? 0, this.#sealed.seq);
    // What was told of meanwhile may be newer than what was looked at.
    if (last < this.#last && before !== this.#last) return;
    const isMore = last > this.#last;
    this.#last = last;
    if (isMore) for (const listener of this.#listeners) listener();
  }

  async acknowledge(seq: number): Promise<void> {
    if (seq > this.#acknowledged) await this.resume(seq);
  }

  async resume(seq: number): Promise<void> {
    if (seq === this.#acknowledged) return;
    this.#acknowledged = seq;
    // Guarded by the log: an acknowledgement that crosses a change of logs is of the old one.
    const sql = 'UPDATE lane_positions SET acknowledged = ? WHERE lane = ? AND log = ?';
    await this.#deps.store.commits.commit([{ sql, params: [seq, this.lane, this.#log] }]);
  }

  /** Takes acknowledged entries out, oldest first, some at a time; returns how many. */
  async prune({ before, keepEntries }: PruneLimits): Promise<number> {
    const sql = `SELECT min(seq) AS seq FROM (SELECT seq FROM journal_${this.lane} WHERE at >= ? ORDER BY seq LIMIT 1)`;
    const young = await this.#deps.store.read.get<{ seq: number | null }>(sql, [before]);
    const acknowledged = this.#acknowledged;
    const old = Math.min(acknowledged, (young?.seq ?? Number.MAX_SAFE_INTEGER) - 1);
    const until = Math.max(old, acknowledged - keepEntries);
    for (let pruned = 0; ; ) {
      const entries = await this.pruneSome(until, pruneAtOnce);
      pruned += entries;
      if (entries < pruneAtOnce) return pruned;
    }
  }

  /** Takes out the oldest entries up to `until` that are acknowledged, at most so many; returns how many. */
  pruneSome(until: number, most: number): Promise<number> {
    return this.exclusively(() =>
      this.#deps.store.commits.transact(async (tx) => {
        const { lane } = this;
        const { changes } = await tx.run(
          `DELETE FROM journal_${lane} WHERE seq IN
           (SELECT seq FROM journal_${lane} WHERE seq <= ? ORDER BY seq LIMIT ?)`,
          [Math.min(until, this.#acknowledged), most],
        );
        if (changes === 0) return 0;
        // The chain right before the oldest entry stays: a control plane that stands there can still be met.
        await tx.run(
          `DELETE FROM lane_seals WHERE lane = ?1 AND seq < ?2 AND seq <
           coalesce((SELECT min(seq) FROM journal_${lane}), ?2) - 1`,
          [lane, this.#acknowledged],
        );
        return changes;
      }),
    );
  }

  startNewLog(_reason: string): Promise<void> {
    return this.exclusively(() => this.#startNewLog());
  }

  async #startNewLog(): Promise<void> {
    const log = newLog();
    await this.#deps.store.commits.commit([
      {
        sql: `UPDATE lane_positions SET log = ?, sealed_seq = 0, sealed_chain = x'', acknowledged = 0
              WHERE lane = ?`,
        params: [log, this.lane],
        expectChanges: 1,
      },
      { sql: 'DELETE FROM lane_seals WHERE lane = ?', params: [this.lane] },
    ]);
    this.#log = log;
    this.#sealed = { seq: 0, chain: chainStart };
    this.#acknowledged = 0;
  }

  async #gather(
    after: Position,
    maxBytes: number,
    until = Number.MAX_SAFE_INTEGER,
  ): Promise<SealedBatch | undefined> {
    const log = this.#log;
    const params = [after.seq, until, maxBatchRows, maxBytes];
    const found = await this.#deps.store.read.all<EntryRow>(gatherSql(this.lane), params);
    const rows = withoutHole(after.seq, found);
    const first = rows[0];
    const last = rows.at(-1);
    if (!first || !last || log !== this.#log) return undefined;
    const firstSeq = firstNumberOf(first);
    return {
      log,
      firstSeq,
      lastSeq: last.seq,
      previousChain: after.chain,
      chain: chainAfter(after.chain, this.lane, rows),
      count: rows.length,
      entries: `[${rows.map(canonicalEntry).join(',')}]`,
    };
  }

  async #seal(batch: SealedBatch): Promise<void> {
    await this.#deps.store.commits.commit([
      {
        sql: 'UPDATE lane_positions SET sealed_seq = ?, sealed_chain = ? WHERE lane = ? AND log = ?',
        params: [batch.lastSeq, batch.chain, this.lane, batch.log],
        expectChanges: 1,
      },
      {
        sql: 'INSERT OR REPLACE INTO lane_seals (lane, seq, chain) VALUES (?, ?, ?)',
        params: [this.lane, batch.lastSeq, batch.chain],
      },
    ]);
    this.#sealed = { seq: batch.lastSeq, chain: batch.chain };
    this.#last = Math.max(this.#last, batch.lastSeq);
  }

  /** What is sent again may be cut elsewhere, and then the control plane may come to stand there. */
  async #sealAgain({ log, lastSeq, chain }: SealedBatch): Promise<void> {
    if (await this.chainAt(lastSeq)) return;
    await this.#deps.store.commits.commit([
      {
        sql: `INSERT OR IGNORE INTO lane_seals (lane, seq, chain)
              SELECT lane, ?, ? FROM lane_positions WHERE lane = ? AND log = ?`,
        params: [lastSeq, chain, this.lane, log],
      },
    ]);
  }
}

/** Takes the lane up where it is on disk; draws the name of its log the first time. */
export const openSealedLane = async (deps: SealedLaneDeps, lane: LaneName): Promise<SealedLane> => {
  await deps.store.commits.commit([
    {
      sql: `INSERT OR IGNORE INTO lane_positions (lane, log, sealed_seq, sealed_chain, acknowledged)
            VALUES (?, ?, 0, x'', 0)`,
      params: [lane, newLog()],
    },
  ]);
  const row = await deps.store.read.get<PositionRow>(
    'SELECT log, sealed_seq, sealed_chain, acknowledged FROM lane_positions WHERE lane = ?',
    [lane],
  );
  if (!row) throw new HoldfastError('INTERNAL', `no position of lane ${lane}`);
  const last = await deps.store.read.get<{ last: number | null }>(
    `SELECT max(seq) AS last FROM journal_${lane}`,
  );
  return new SealedLane(deps, lane, row, last?.last ?? row.sealed_seq);
};

/** Numbers that no entry accounts for. */
class Hole extends HoldfastError {
  readonly from: number;
  readonly to: number;

  constructor(from: number, to: number) {
    super('JOURNAL_HOLE', `the entries ${from} to ${to} are gone`);
    this.from = from;
    this.to = to;
  }
}

/** The rows up to the first hole; throws it when they begin with it. A log may begin anywhere. */
const withoutHole = (after: number, rows: readonly EntryRow[]): readonly EntryRow[] => {
  let seq = after;
  for (const [index, row] of rows.entries()) {
    const first = firstNumberOf(row);
    if (seq !== 0 && first > seq + 1) {
      if (index === 0) throw new Hole(seq + 1, first - 1);
      return rows.slice(0, index);
    }
    seq = row.seq;
  }
  return rows;
};

/** Only the bodies of entries that stand for others are looked into. */
const firstNumberOf = (row: EntryRow): number =>
  row.kind === 'dropped' || row.kind === 'compacted'
    ? firstSeqOf({ ...row, body: JSON.parse(row.body) })
    : row.seq;

const newLog = (): string => randomBytes(16).toString('hex');

/** The running sum bounds the bytes before the bodies are loaded; the first row comes whatever its size. */
const gatherSql = (lane: LaneName): string => `
SELECT seq, at, kind, body FROM (
  SELECT seq, at, kind, body, row_number() OVER w AS nth,
    sum(length(CAST(body AS BLOB)) + ${entryOverhead}) OVER w AS bytes
  FROM (SELECT seq, at, kind, body FROM journal_${lane} WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)
  WINDOW w AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) WHERE nth = 1 OR bytes <= ?4`;

/** Members in the order of RFC 8785. */
const canonicalEntry = ({ seq, at, kind, body }: EntryRow): string =>
  `{"at":${at},"body":${body},"kind":${JSON.stringify(kind)},"seq":${seq}}`;
