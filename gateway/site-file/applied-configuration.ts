/**
 * The configuration that was applied to a gateway, and the one before. Each is a file of its own (`site/7.yaml` below the data folder);
 * a record says which one counts, so that one write of the record changes over, and a cut leaves the old or the new.
 *
 * A new one is on trial until the gateway was healthy with it. The gateway counts its attempts before it opens anything: one that was
 * tried and did not come to be healthy, for whatever reason, is rolled back by the next start.
 */

import { createHash } from 'node:crypto';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileText } from '@holdfast/provisioning/program/configuration-file';
import { lockFolder } from '@holdfast/provisioning/storage/folder-lock';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';

const version = v.object({
  revision: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** Of the file's bytes. */
  sha256: v.string(),
  applied_at: v.number(),
  /** Who applied it: a name of this machine. */
  by: v.string(),
});
export type AppliedVersion = v.InferOutput<typeof version>;

const outcome = v.object({
  revision: v.number(),
  sha256: v.string(),
  by: v.string(),
  result: v.picklist(['confirmed', 'rolled_back']),
  /** Why it was rolled back. */
  reason: v.nullable(v.string()),
  at: v.number(),
  /** Whether the journal has it. */
  journalled: v.boolean(),
});
export type TrialOutcome = v.InferOutput<typeof outcome>;

const schema = v.object({
  /** The one that counts; null: the defaults. */
  current: v.nullable(version),
  /** What a trial falls back to. */
  previous: v.nullable(version),
  trial: v.nullable(v.object({ attempts: v.number() })),
  /** The highest number given; one that was rolled back is not given again. */
  last: v.number(),
  outcome: v.nullable(outcome),
});
type State = v.InferOutput<typeof schema>;

const initial: State = { current: null, previous: null, trial: null, last: 0, outcome: null };

/** Files of revisions before these are deleted, but for what counts and what a trial falls back to. */
const keptRevisions = 5;

export interface AppliedOptions {
  readonly dataDir: string;
  readonly now?: () => number;
}

export class AppliedConfiguration {
  readonly #folder: string;
  readonly #log: StoreLog;
  readonly #now: () => number;
  #record: StoredRecord<State>;

  private constructor(
    folder: string,
    log: StoreLog,
    now: () => number,
    record: StoredRecord<State>,
  ) {
    this.#folder = folder;
    this.#log = log;
    this.#now = now;
    this.#record = record;
  }

  /** Makes nothing on disk. Errors: STORE_CORRUPT. */
  static async open(
    { log }: { readonly log: StoreLog },
    { dataDir, now = Date.now }: AppliedOptions,
  ): Promise<AppliedConfiguration> {
    const folder = join(dataDir, 'site');
    return new AppliedConfiguration(folder, log, now, await openState(folder, log));
  }

  get current(): AppliedVersion | null {
    return this.#record.data.current;
  }

  /** The revision that is on trial. */
  get onTrial(): number | undefined {
    const { trial, current } = this.#record.data;
    return trial === null ? undefined : current?.revision;
  }

  get outcome(): TrialOutcome | null {
    return this.#record.data.outcome;
  }

  /** Reads again what another process may have changed. */
  async refresh(): Promise<void> {
    this.#record = await openState(this.#folder, this.#log);
  }

  /** What the version that counts says; undefined when none was ever applied. A file that is gone or changed falls back, and is told. */
  async text(): Promise<FileText | undefined> {
    const { current, previous } = this.#record.data;
    if (current === null) return undefined;
    const text = await this.#read(current);
    if (text !== undefined) return text;
    const before = previous === null ? undefined : await this.#read(previous);
    this.#log.error(
      { revision: current.revision, used: before?.name ?? 'the defaults' },
      'the file of the applied configuration is missing or was changed: apply it again',
    );
    return before;
  }

  /** Puts a new one on trial. Until it is confirmed, the one that was confirmed last stays the one to fall back to. */
  async begin(yaml: string, by: string): Promise<AppliedVersion> {
    let next: AppliedVersion | undefined;
    await this.#change(async (state) => {
      const revision = state.last + 1;
      next = { revision, sha256: sha256Of(yaml), applied_at: this.#now(), by };
      await writeDurably(this.#path(revision), yaml);
      return {
        ...state,
        current: next,
        previous: state.trial === null ? state.current : state.previous,
        trial: { attempts: 0 },
        last: revision,
      };
    });
    if (next === undefined) throw new Error('the change was not made');
    await this.#sweep();
    return next;
  }

  async #sweep(): Promise<void> {
    const { current, previous, last } = this.#record.data;
    for (const name of await readdir(this.#folder)) {
      const revision = Number(/^(\d+)\.yaml$/.exec(name)?.[1] ?? last);
      const isNeeded = revision === current?.revision || revision === previous?.revision;
      if (revision > last - keptRevisions || isNeeded) continue;
      await rm(this.#path(revision), { force: true });
    }
  }

  /** To be called before anything is opened with it. Gives back false when it was tried before, in vain: it is rolled back then. */
  async attempt(): Promise<boolean> {
    const { trial, current } = this.#record.data;
    if (trial === null || current === null) return true;
    if (trial.attempts > 0) {
      await this.rollBack(current.revision, 'the gateway ended before it was healthy with it');
      return false;
    }
    await this.#change((state) => ({ ...state, trial: { attempts: 1 } }));
    return true;
  }

  /** What went wrong had nothing to do with it: the next start may try it again. */
  async forgive(revision: number): Promise<void> {
    await this.#change((state) =>
      isTried(state, revision) ? { ...state, trial: { attempts: 0 } } : state,
    );
  }

  async confirm(revision: number): Promise<void> {
    await this.#settle(revision, 'confirmed', null);
  }

  /** The one before counts again. Nothing happens when another one is on trial meanwhile. */
  async rollBack(revision: number, reason: string): Promise<void> {
    this.#log.error({ revision, reason }, 'the new configuration is rolled back');
    await this.#settle(revision, 'rolled_back', reason);
  }

  /** The journal has the outcome of this revision. */
  async journalled(revision: number): Promise<void> {
    await this.#change((state) =>
      state.outcome?.revision === revision
        ? { ...state, outcome: { ...state.outcome, journalled: true } }
        : state,
    );
  }

  async #settle(
    revision: number,
    result: TrialOutcome['result'],
    reason: string | null,
  ): Promise<void> {
    await this.#change((state) => {
      const { current, previous } = state;
      if (!isTried(state, revision) || current === null) return state;
      const { sha256, by } = current;
      const told = { revision, sha256, by, result, reason, at: this.#now(), journalled: false };
      const kept = result === 'confirmed' ? current : previous;
      return { ...state, current: kept, trial: null, outcome: told };
    });
  }

  /** Changes what is on disk now: the gateway and `apply` both write here. */
  async #change(change: (state: State) => State | Promise<State>): Promise<void> {
    await makeFolder(this.#folder, 0o700);
    const lock = await lockFolder(this.#folder);
    try {
      await this.refresh();
      const before = this.#record.data;
      const after = await change(before);
      if (after !== before) await this.#record.update(() => after);
    } finally {
      await lock.close();
    }
  }

  async #read({ revision, sha256 }: AppliedVersion): Promise<FileText | undefined> {
    const path = this.#path(revision);
    const text = await readFile(path, 'utf8').catch(() => undefined);
    return text !== undefined && sha256Of(text) === sha256 ? { name: path, text } : undefined;
  }

  #path(revision: number): string {
    return join(this.#folder, `${revision}.yaml`);
  }
}

const isTried = ({ trial, current }: State, revision: number): boolean =>
  trial !== null && current?.revision === revision;

const openState = (folder: string, log: StoreLog): Promise<StoredRecord<State>> =>
  openRecord<State>({ path: join(folder, 'applied.json'), parse: v.parser(schema), initial, log });

const sha256Of = (text: string): string => createHash('sha256').update(text).digest('hex');

const writeDurably = async (path: string, text: string): Promise<void> => {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
};
