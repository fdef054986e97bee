/**
 * What a journal entry does here. Each kind has at most one effect, registered by the part that owns its tables; effects are committed
 * with the position that says the entries are taken in, so an entry takes effect once.
 *
 * An effect gets the entries of one kind that stand next to each other in a batch, in order, so that it can write many rows at once.
 */
import {
  type EntryBody,
  type EntryKind,
  type JournalEntry,
  journalBodies,
  type LaneName,
} from '@holdfast/protos/link/journal-entries';
import * as v from 'valibot';
import type { WriteTransaction } from '../store/sql-engine.js';

export interface EffectContext {
  readonly tx: WriteTransaction;
  readonly site: string;
  /** The log that the entries are numbered in. */
  readonly log: string;
  /**
   * The gateway that hands this over owns the site no more: what it saw happen is worth having, what it says *is* may be long
   * overtaken by the word of its successor.
   */
  readonly isFenced: boolean;
  /** Epoch ms by the clock here. */
  readonly now: number;
}

export interface EffectEntry<Body> {
  readonly seq: number;
  /** Epoch ms by the site's clock. */
  readonly at: number;
  readonly body: Body;
}

/** An entry without effect, and why; it is kept in the table `journal`. */
export interface EntryProblem {
  readonly seq: number;
  readonly problem: string;
}

/**
 * Does what the entries say, inside the transaction. Returns the entries it can make nothing of. Throwing fails the whole batch, which
 * the gateway then sends again: for a store that fails, never for what an entry holds.
 */
export type Effect<Body> = (
  context: EffectContext,
  entries: readonly EffectEntry<Body>[],
) => Promise<readonly EntryProblem[] | undefined>;

export interface AppliedEntries {
  /** Entries of kinds nobody here knows, or of which their effect could make nothing. */
  readonly problems: readonly EntryProblem[];
}

type Step = (
  context: EffectContext,
  entries: readonly JournalEntry[],
) => Promise<readonly EntryProblem[]>;

export class EffectRegistry {
  readonly #steps = new Map<string, Step>();

  /** To be called before the link is served. Throws when the kind has an effect already. */
  register<L extends LaneName, K extends EntryKind<L>>(
    lane: L,
    kind: K,
    effect: Effect<EntryBody<L, K>>,
  ): void {
    const key = `${lane}/${kind}`;
    if (this.#steps.has(key)) throw new TypeError(`${key} has an effect already`);
    // The types say that the schema of (lane, kind) makes an EntryBody<L, K>; TypeScript cannot follow the two indexed accesses.
    const schema = journalBodies[lane][kind] as unknown as v.GenericSchema<
      unknown,
      EntryBody<L, K>
    >;
    this.#steps.set(key, async (context, entries) => {
      const { readable, problems } = parseBodies(schema, entries);
      if (readable.length === 0) return problems;
      return [...problems, ...((await effect(context, readable)) ?? [])];
    });
  }

  /** Applies entries of one lane in their order. */
  async apply(
    context: EffectContext,
    lane: LaneName,
    entries: readonly JournalEntry[],
  ): Promise<AppliedEntries> {
    const problems: EntryProblem[] = [];
    for (const run of runsOfOneKind(entries)) {
      const step = this.#steps.get(`${lane}/${run[0].kind}`);
      if (step === undefined) {
        problems.push(...run.map(({ seq }) => ({ seq, problem: 'unknown kind' })));
      } else {
        problems.push(...(await step(context, run)));
      }
    }
    return { problems };
  }
}

const parseBodies = <Body>(
  schema: v.GenericSchema<unknown, Body>,
  entries: readonly JournalEntry[],
) => {
  const readable: EffectEntry<Body>[] = [];
  const problems: EntryProblem[] = [];
  for (const { seq, at, body } of entries) {
    const parsed = v.safeParse(schema, body, { abortEarly: true });
    if (parsed.success) readable.push({ seq, at, body: parsed.output });
    else problems.push({ seq, problem: `body: ${parsed.issues[0].message}` });
  }
  return { readable, problems };
};

type Run = [JournalEntry, ...JournalEntry[]];

const runsOfOneKind = (entries: readonly JournalEntry[]): Run[] => {
  const runs: Run[] = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    if (last?.[0].kind === entry.kind) last.push(entry);
    else runs.push([entry]);
  }
  return runs;
};
