import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ShadowErrorCode } from '@holdfast/protos/mqtt/shadow-payload';
import { type ConflictRule, sideOf } from '@holdfast/protos/semantics/conflict-policy';
import { type HybridTime, laterOf, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import {
  parseShadowOperations,
  parseShadowWriteIds,
} from '@holdfast/protos/semantics/shadow-operation-schema';
import { everythingIn } from '@holdfast/protos/semantics/shadow-resupply';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import { decideShadow } from './decide-shadow.js';
import { ShadowCache, textOf } from './shadow-cache.js';
import {
  metadataOf,
  type ShadowAnswer,
  type ShadowAsker,
  type ShadowView,
  viewOf,
} from './shadow-change.js';
import { changeWrite } from './shadow-change-write.js';
import {
  type ConflictFilter,
  type ConflictPage,
  listConflicts,
  openConflicts,
} from './shadow-conflicts.js';
import {
  type ChangedShadow,
  defaultShadowLimits,
  type ShadowEvent,
  type ShadowLimits,
} from './shadow-decision.js';
import { openShadowHistory, type ShadowHistory } from './shadow-history.js';
import { type Losses, readLosses } from './shadow-losses.js';
import type { ShadowKey, StoredShadow } from './stored-shadow.js';
import { Turns } from './turns.js';

/**
 * The shadows of the site's devices: each decided one event after the other on its committed state, and stored together with its
 * journal entry and what is to be told of it.
 */
export interface ShadowsDeps {
  readonly site: SiteStore;
  readonly clock: Clock;
  /** The log of the site's store. A file made anew has another, so what is minted then is not taken for what the lost one wrote. */
  readonly log: string;
  /** Who wins conflicts, as the plan has it. */
  readonly rules?: () => readonly ConflictRule[];
}

export interface ShadowsOptions extends Partial<ShadowLimits> {
  /** What shadows may take in memory; the others are read when they are asked for. */
  readonly maxCachedBytes?: number;
  /** Requests about one shadow that wait; the next is answered 429. */
  readonly maxWaiting?: number;
  /** Bytes of history. */
  readonly historyBytes?: number;
}

/** A request about a shadow, whoever asks. */
export type ShadowRequest = ShadowKey &
  Exclude<ShadowEvent, { type: 'merge' | 'forget' }> & { readonly asker?: ShadowAsker };

export interface ListedShadow {
  readonly name: string;
  readonly version: number;
  /** Epoch ms. */
  readonly updatedAt: number;
  /** Open ones. */
  readonly conflicts: number;
}

export type ShadowOutcome =
  | { readonly accepted: true; readonly version: number }
  | { readonly accepted: false; readonly code: ShadowErrorCode; readonly message: string };

export class Shadows {
  readonly #deps: ShadowsDeps;
  readonly #limits: ShadowLimits;
  readonly #turns: Turns;
  readonly #replica: string;
  readonly #cache: ShadowCache;
  /** What changed, by whom and when. */
  readonly history: ShadowHistory;
  #seen: HybridTime;
  #onConflicts: (added: number) => void = () => undefined;

  /** Use `openShadows`. */
  constructor(
    deps: ShadowsDeps,
    { seen, history }: { readonly seen: HybridTime; readonly history: ShadowHistory },
    options: ShadowsOptions = {},
  ) {
    const { maxCachedBytes = defaultCachedBytes, maxWaiting = 32, ...limits } = options;
    this.#deps = deps;
    this.history = history;
    this.#seen = seen;
    this.#limits = { ...defaultShadowLimits, ...limits };
    this.#cache = new ShadowCache(deps.site.read, maxCachedBytes);
    this.#turns = new Turns(maxWaiting);
    this.#replica = deps.log.slice(0, 12);
  }

  /** Undefined when there is no such shadow. */
  async get(key: ShadowKey): Promise<ShadowView | undefined> {
    // Behind what is under way: who is told `accepted` and then asks must find it.
    return this.#inTurn(key, async () => {
      const shadow = await this.#cache.load(key);
      return shadow.exists ? viewOf(key, shadow, this.#deps.clock.now()) : undefined;
    });
  }

  /**
   * Updates or deletes. Resolves after the commit; what there is to tell, `accepted` to the asker included, is an effect. A refusal is
   * an outcome and told to nobody. Rejects as the store does.
   */
  async request(request: ShadowRequest): Promise<ShadowOutcome> {
    try {
      return await this.#inTurn(request, () => this.#decideRequest(request));
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'REQUEST_THROTTLED') throw error;
      return { accepted: false, code: 429, message: 'Too many requests' };
    }
  }

  /**
   * Merges what the control plane wrote. `commit` stores a write together with the order's position, and is called once, whether or
   * not anything changed. REQUEST_INVALID for what is none of its to write.
   */
  async applyRemote(
    order: {
      readonly device: string;
      readonly shadow: string;
      readonly operations: readonly unknown[];
      readonly dead?: readonly unknown[] | undefined;
      readonly lost?: readonly unknown[] | undefined;
      readonly deleted?: boolean | undefined;
    },
    commit: (write: Write) => Promise<void>,
  ): Promise<void> {
    const key = { device: order.device, name: order.shadow };
    const operations = parseShadowOperations(order.operations);
    const dead = parseShadowWriteIds(order.dead ?? []);
    const lost = parseShadowOperations(order.lost ?? []);
    refuseForeign(key, [...operations, ...lost]);
    const merge = async (): Promise<void> => {
      const before = await this.#cache.load(key);
      const decision = decideShadow(
        before,
        { type: 'merge', operations, dead, lost, isDeletion: order.deleted === true },
        this.#context(key),
      );
      if (decision.kind !== 'changed') return commit([]);
      await this.#store(key, before, decision, undefined, commit);
    };
    // Orders come one after the other: one that is refused holds up those to every other device.
    await this.#turns.take(textOf(key), merge, 1);
  }

  /** Journals all there is of a shadow, whoever wrote it, for a control plane that may have lost some. */
  async tellAll(key: ShadowKey): Promise<void> {
    const tell = async (): Promise<void> => {
      const { state } = await this.#cache.load(key);
      if (state.leaves.size + state.lost.size === 0) return;
      const { operations, lost } = everythingIn(state);
      const { device, name: shadow } = key;
      const entry = {
        ...{ device, shadow, everything: true, operations: [...operations] },
        ...(lost.length === 0 ? {} : { lost: newestOf(lost, maxLostBytes) }),
      };
      const now = this.#deps.clock.now();
      await this.#deps.site.commit([journalEntry('state', 'shadow', entry, now)]);
    };
    // As an order and as `forget`: one comes at a time.
    await this.#turns.take(textOf(key), tell, 3);
  }

  /** The shadows a device has, by name. */
  async namesOf(device: string): Promise<string[]> {
    const rows = await this.#deps.site.read.all<{ name: string }>(
      'SELECT name FROM shadows WHERE device = ? AND is_present = 1 ORDER BY name',
      [device],
    );
    return rows.map(({ name }) => name);
  }

  /** The same with what a list shows of them. */
  async list(device: string): Promise<ListedShadow[]> {
    const { read } = this.#deps.site;
    const open = await openConflicts(read, device);
    const rows = await read.all<{ name: string; version: number; updated_at: number }>(
      'SELECT name, version, updated_at FROM shadows WHERE device = ? AND is_present = 1 ORDER BY name',
      [device],
    );
    return rows.map(({ name, version, updated_at: updatedAt }) => ({
      name,
      version,
      updatedAt,
      conflicts: open.get(name) ?? 0,
    }));
  }

  /** The site's conflicts, oldest first: the open ones, unless the filter says more. */
  conflicts(filter: Partial<ConflictFilter> = {}): Promise<ConflictPage> {
    return listConflicts(this.#deps.site.read, { limit: 1_000, ...filter });
  }

  /** How many open conflicts had to go, since there were too many. */
  conflictLosses(): Promise<Losses | undefined> {
    return readLosses(this.#deps.site.read, 'conflicts');
  }

  /** Forgets losers, by their ids: what is visible stays as it is. `more` is committed with it. */
  async forget(key: ShadowKey, losers: ReadonlySet<string>, more: Write): Promise<void> {
    const forget = async (): Promise<void> => {
      const before = await this.#cache.load(key);
      const decision = decideShadow(before, { type: 'forget', losers }, this.#context(key));
      if (decision.kind !== 'changed') return this.#deps.site.commit(more);
      const commit = (write: Write): Promise<void> => this.#deps.site.commit([...write, ...more]);
      await this.#store(key, before, decision, undefined, commit);
    };
    // As an order: a device that floods its shadow must not keep it from being tended.
    await this.#turns.take(textOf(key), forget, 2);
  }

  /** Told of every commit with more conflicts than before, by how many. */
  onConflicts(listener: (added: number) => void): void {
    this.#onConflicts = listener;
  }

  /** Resolves when nothing is under way. The store is its owner's to close. */
  close(): Promise<void> {
    return this.#turns.idle();
  }

  async #decideRequest(request: ShadowRequest): Promise<ShadowOutcome> {
    const before = await this.#cache.load(request);
    const decision = decideShadow(before, request, this.#context(request));
    if (decision.kind === 'refused') {
      return { accepted: false, code: decision.code, message: decision.message };
    }
    if (decision.kind === 'unchanged') return { accepted: true, version: before.version };
    const answer = request.asker && { ...request.asker, ...answerTo(request, decision.operations) };
    await this.#store(request, before, decision, answer, (write) => this.#deps.site.commit(write));
    return { accepted: true, version: decision.shadow.version };
  }

  async #store(
    key: ShadowKey,
    before: StoredShadow,
    decision: ChangedShadow,
    answer: (ShadowAsker & ShadowAnswer) | undefined,
    commit: (write: Write) => Promise<void>,
  ): Promise<void> {
    const { shadow } = decision;
    const { clock } = this.#deps;
    const at = { now: clock.now(), trusted: clock.trusted, replica: this.#replica };
    const { write, historyBytes, conflictsAdded } = changeWrite(key, before, decision, at, answer);
    try {
      await commit(write);
    } catch (error) {
      this.#cache.forget(key);
      throw error;
    }
    this.#cache.remember(key, shadow);
    this.#seen = laterOf(this.#seen, shadow.time);
    this.history.committed(key, historyBytes);
    if (conflictsAdded > 0) this.#onConflicts(conflictsAdded);
  }

  #context({ device, name }: ShadowKey) {
    const { clock } = this.#deps;
    return {
      // In the words of AWS IoT, for which the classic one has the name of its thing.
      name: name === classicShadow ? device : name,
      shadow: name,
      rules: this.#deps.rules?.() ?? [],
      replica: this.#replica,
      seen: this.#seen,
      clock: { now: clock.now(), trusted: clock.trusted },
      limits: this.#limits,
    };
  }

  #inTurn<T>(key: ShadowKey, work: () => Promise<T>): Promise<T> {
    return this.#turns.take(textOf(key), work);
  }
}

/** Reads how far the clock of the shadows has come. */
export const openShadows = async (
  deps: ShadowsDeps,
  options?: ShadowsOptions,
): Promise<Shadows> => {
  const seen = await deps.site.read.get<HybridTime>(
    'SELECT wall, counter FROM shadows ORDER BY wall DESC, counter DESC LIMIT 1',
  );
  const history = await openShadowHistory(deps.site, options?.historyBytes ?? defaultHistoryBytes);
  return new Shadows(deps, { seen: seen ?? zeroTime, history }, options);
};

/** Losers that are told with a shadow: no message takes any size. */
const maxLostBytes = 2_097_152;

/** Of operations, the older first, as many of the newest as fit. */
const newestOf = (operations: readonly ShadowOperation[], maxBytes: number): ShadowOperation[] => {
  let bytes = 0;
  const fits = (operation: ShadowOperation): boolean => {
    bytes += Buffer.byteLength(JSON.stringify(operation));
    return bytes <= maxBytes;
  };
  const end = operations.findLastIndex((operation) => !fits(operation));
  return operations.slice(end + 1);
};

const defaultHistoryBytes = 268_435_456;
const defaultCachedBytes = 33_554_432;

/** Whoever settles a conflict writes again what the device had reported. */
const isDeviceOrSettler = (device: string, writer: string): boolean =>
  writer === `device:${device}` || (sideOf(writer) === 'site' && !writer.startsWith('device:'));

const answerTo = (request: ShadowRequest, operations: readonly ShadowOperation[]): ShadowAnswer =>
  request.type === 'delete'
    ? { operation: 'delete' }
    : {
        operation: 'update',
        state: request.type === 'update' ? request.patch : {},
        metadata: metadataOf(operations),
      };

/** The control plane writes `desired`; what was reported it deletes, or gives back to a site that lost it. */
const refuseForeign = ({ device }: ShadowKey, operations: readonly ShadowOperation[]): void => {
  for (const { path, value, stamp } of operations) {
    const isOurs = isDeviceOrSettler(device, stamp.writer);
    if (path[0] === 'desired' || value === undefined || isOurs) continue;
    throw new HoldfastError('REQUEST_INVALID', 'reported is written by the device alone', {
      data: { device, writer: stamp.writer },
    });
  }
};
