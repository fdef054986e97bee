import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ShadowErrorCode } from '@holdfast/protos/mqtt/shadow-payload';
import { type HybridTime, laterOf, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import {
  parseShadowOperations,
  parseShadowWriteIds,
} from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import { effect } from '../store/outbox.js';
import type { SiteStore } from '../store/site-store.js';
import {
  decideShadow,
  defaultShadowLimits,
  type ShadowDecision,
  type ShadowEvent,
  type ShadowLimits,
} from './decide-shadow.js';
import { ShadowCache, textOf } from './shadow-cache.js';
import {
  changeId,
  changeOf,
  metadataOf,
  type ShadowAnswer,
  type ShadowAsker,
  type ShadowView,
  shadowChanged,
  viewOf,
} from './shadow-change.js';
import { type ListedConflict, listConflicts } from './shadow-conflicts.js';
import { type ShadowKey, type StoredShadow, shadowWrite } from './stored-shadow.js';
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
}

export interface ShadowsOptions extends Partial<ShadowLimits> {
  /** Shadows held in memory. */
  readonly maxCached?: number;
  /** Requests about one shadow that wait; the next is answered 429. */
  readonly maxWaiting?: number;
}

/** A request about a shadow, whoever asks. */
export type ShadowRequest = ShadowKey &
  Exclude<ShadowEvent, { type: 'merge' }> & { readonly asker?: ShadowAsker };

export type ShadowOutcome =
  | { readonly accepted: true; readonly version: number }
  | { readonly accepted: false; readonly code: ShadowErrorCode; readonly message: string };

export class Shadows {
  readonly #deps: ShadowsDeps;
  readonly #limits: ShadowLimits;
  readonly #turns: Turns;
  readonly #replica: string;
  readonly #cache: ShadowCache;
  #seen: HybridTime;

  /** Use `openShadows`. */
  constructor(deps: ShadowsDeps, seen: HybridTime, options: ShadowsOptions = {}) {
    const { maxCached = 1_000, maxWaiting = 32, ...limits } = options;
    this.#deps = deps;
    this.#seen = seen;
    this.#limits = { ...defaultShadowLimits, ...limits };
    this.#cache = new ShadowCache(deps.site.read, maxCached);
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
      readonly deleted?: boolean | undefined;
    },
    commit: (write: Write) => Promise<void>,
  ): Promise<void> {
    const key = { device: order.device, name: order.shadow };
    const operations = parseShadowOperations(order.operations);
    const dead = parseShadowWriteIds(order.dead ?? []);
    refuseForeign(key, operations);
    const merge = async (): Promise<void> => {
      const before = await this.#cache.load(key);
      const decision = decideShadow(
        before,
        { type: 'merge', operations, dead, isDeletion: order.deleted === true },
        this.#context(key),
      );
      if (decision.kind !== 'changed') return commit([]);
      await this.#store(key, before, decision, undefined, commit);
    };
    // Orders come one after the other: one that is refused holds up those to every other device.
    await this.#turns.take(textOf(key), merge, 1);
  }

  /** The shadows a device has, by name. */
  async namesOf(device: string): Promise<string[]> {
    const rows = await this.#deps.site.read.all<{ name: string }>(
      'SELECT name FROM shadows WHERE device = ? AND is_present = 1 ORDER BY name',
      [device],
    );
    return rows.map(({ name }) => name);
  }

  /** The site's conflicts, or a device's, oldest first. */
  conflicts(device?: string, limit = 1_000): Promise<ListedConflict[]> {
    return listConflicts(this.#deps.site.read, device, limit);
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
    decision: ShadowDecision & { kind: 'changed' },
    answer: (ShadowAsker & ShadowAnswer) | undefined,
    commit: (write: Write) => Promise<void>,
  ): Promise<void> {
    const { shadow, operations, dead, isDeletion } = decision;
    const now = this.#deps.clock.now();
    const { device, name } = key;
    const write = [...shadowWrite(key, before, shadow, now)];
    if (operations.length + dead.length > 0 || isDeletion) {
      const entry = {
        device,
        shadow: name,
        operations: [...operations],
        ...(dead.length === 0 ? {} : { dead: [...dead] }),
        ...(isDeletion ? { deleted: true } : {}),
      };
      write.push(journalEntry('state', 'shadow', entry, now));
    }
    const isTold = answer !== undefined || isDeletion || shadow.version !== before.version;
    if (isTold) {
      const change = changeOf(key, before, shadow, now, answer);
      write.push(
        effect(
          shadowChanged,
          changeId(key, shadow.version, isDeletion),
          change,
          `shadow:${device}`,
        ),
      );
    }
    try {
      await commit(write);
    } catch (error) {
      this.#cache.forget(key);
      throw error;
    }
    this.#cache.remember(key, shadow);
    this.#seen = laterOf(this.#seen, shadow.time);
  }

  #context({ device, name }: ShadowKey) {
    const { clock } = this.#deps;
    return {
      // In the words of AWS IoT, for which the classic one has the name of its thing.
      name: name === classicShadow ? device : name,
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
  return new Shadows(deps, seen ?? zeroTime, options);
};

const answerTo = (request: ShadowRequest, operations: readonly ShadowOperation[]): ShadowAnswer =>
  request.type === 'delete'
    ? { operation: 'delete' }
    : { operation: 'update', state: request.patch, metadata: metadataOf(operations) };

/** The control plane writes `desired`; what a device reported it deletes, or gives back to a site that lost it. */
const refuseForeign = ({ device }: ShadowKey, operations: readonly ShadowOperation[]): void => {
  for (const { path, value, stamp } of operations) {
    if (path[0] === 'desired' || value === undefined || stamp.writer === `device:${device}`) {
      continue;
    }
    throw new HoldfastError('REQUEST_INVALID', 'reported is written by the device alone', {
      data: { device, writer: stamp.writer },
    });
  }
};
