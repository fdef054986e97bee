/**
 * What access was refused, in the log and in the journal. The first of a kind is told at once; the same again is counted and told together,
 * after a minute and then ever more seldom while it goes on: a flood of refusals must not fill the lane that is never dropped.
 */
import type { EntryBody, EntryKind } from '@holdfast/protos/link/journal-entries';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import type { DenialReason, Verb } from './authorise.js';
import { nameOf, type Principal } from './identity.js';

export interface AccessLogDependencies {
  readonly site: Pick<SiteStore, 'commit'>;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface AccessLogOptions {
  /** From the first of a kind to the next telling. */
  readonly firstPauseMs?: number;
  readonly longestPauseMs?: number;
  /** Kinds told apart; all beyond them are one. */
  readonly maxKinds?: number;
}

export interface AccessRefusal {
  readonly who: Principal;
  readonly verb: Verb;
  /** The topic, filter, client id, device or right. */
  readonly what: string;
  readonly reason: DenialReason;
}

export interface LockedOut {
  readonly user: string | null;
  readonly address: string;
  readonly failures: number;
  readonly waitMs: number;
}

type Kind = Extract<EntryKind<'audit'>, 'access_refused' | 'person_locked_out'>;

interface Gathered {
  count: number;
  dueAt: number;
  pauseMs: number;
  /** The entry that tells of so many. */
  tell: (count: number) => void;
}

const lookEveryMs = 10_000;
const longestText = 256;

export class AccessLog {
  readonly #deps: AccessLogDependencies;
  readonly #options: Required<AccessLogOptions>;
  readonly #gathered = new Map<string, Gathered>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(deps: AccessLogDependencies, options: AccessLogOptions = {}) {
    this.#deps = deps;
    this.#options = { firstPauseMs: 60_000, longestPauseMs: 3_600_000, maxKinds: 500, ...options };
  }

  open(): void {
    this.#timer ??= setInterval(() => this.look(), lookEveryMs).unref();
  }

  /** Tells what is gathered and resolves when it is stored. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const one of this.#gathered.values()) if (one.count > 0) one.tell(one.count);
    this.#gathered.clear();
    await this.#writing;
  }

  readonly refused = ({ who, verb, what, reason }: AccessRefusal): void => {
    const identity = nameOf(who).slice(0, longestText);
    const body = { identity, verb, what: plain(what), reason };
    this.#add(`${identity} ${verb} ${reason}`, (count) =>
      this.#write('access_refused', { ...body, count }),
    );
  };

  readonly lockedOut = ({ user, address, failures, waitMs }: LockedOut): void => {
    this.#add(`locked out ${user ?? ''} ${address}`, () =>
      this.#write('person_locked_out', { user, address, failures, wait_ms: waitMs }),
    );
  };

  /** Tells what is due; called by its own timer. */
  look(): void {
    const now = this.#deps.clock.monotonic();
    for (const [key, one] of this.#gathered) {
      if (now < one.dueAt) continue;
      if (one.count === 0) {
        this.#gathered.delete(key);
        continue;
      }
      one.tell(one.count);
      one.count = 0;
      one.pauseMs = Math.min(one.pauseMs * 4, this.#options.longestPauseMs);
      one.dueAt = now + one.pauseMs;
    }
  }

  #add(key: string, tell: (count: number) => void): void {
    const { firstPauseMs, maxKinds } = this.#options;
    const isOneTooMany = !this.#gathered.has(key) && this.#gathered.size >= maxKinds;
    const known = this.#gathered.get(isOneTooMany ? 'others' : key);
    if (known !== undefined) {
      known.count += 1;
      known.tell = tell;
      return;
    }
    const dueAt = this.#deps.clock.monotonic() + firstPauseMs;
    this.#gathered.set(isOneTooMany ? 'others' : key, {
      count: 0,
      dueAt,
      pauseMs: firstPauseMs,
      tell,
    });
    tell(1);
  }

  #write<K extends Kind>(kind: K, body: EntryBody<'audit', K>): void {
    const { site, clock, log } = this.#deps;
    log.warn(
      { ...body },
      kind === 'access_refused' ? 'access was refused' : 'a user was locked out',
    );
    this.#writing = site
      .commit([journalEntry('audit', kind, body, clock.now())])
      .catch((err: unknown) => log.error({ err }, 'a refusal could not be stored'));
  }
}

/** For a log and a page: no control characters, and not long. */
const plain = (text: string): string =>
  text.slice(0, longestText).replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd');
