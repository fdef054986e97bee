import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ShadowErrorCode } from '@holdfast/protos/mqtt/shadow-payload';
import { type HybridTime, laterOf, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowConflict, ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import {
  parseShadowOperations,
  parseShadowWriteIds,
} from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Store } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import { effect } from '../store/outbox.js';
import {
  decideShadow,
  defaultShadowLimits,
  type ShadowDecision,
  type ShadowEvent,
  type ShadowLimits,
} from './decide-shadow.js';
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
import {
  noShadow,
  readShadow,
  type ShadowKey,
  type ShadowRow,
  type StoredShadow,
  selectShadow,
  shadowWrite,
} from './stored-shadow.js';
import { Turns } from './turns.js';

/**
 * The shadows of the site's devices: each decided one event after the other on its committed state, and stored together with its
 * journal entry and what is to be told of it.
 */
export interface ShadowsDeps {
  readonly store: Pick<Store, 'read' | 'commits' | 'log'>;
  readonly clock: Clock;
  /** Effects were committed. */
  readonly kick: () => void;
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

/** A conflict as it is shown to people. */
export interface ListedConflict extends ShadowKey, ShadowConflict {
  /** Epoch ms by the site's clock. */
  readonly detectedAt: number;
}

export class Shadows {
  readonly #deps: ShadowsDeps;
  readonly #limits: ShadowLimits;
  readonly #maxCached: number;
  readonly #turns: Turns;
  readonly #replica: string;
  /** In the order of their last use. Holds committed shadows alone. */
  readonly #cache = new Map<string, StoredShadow>();
  #seen: HybridTime;

  /** Use `openShadows`. */
  constructor(deps: ShadowsDeps, seen: HybridTime, options: ShadowsOptions = {}) {
    const { maxCached = 1_000, maxWaiting = 32, ...limits } = options;
    this.#deps = deps;
    this.#seen = seen;
    this.#limits = { ...defaultShadowLimits, ...limits };
    this.#maxCached = maxCached;
    this.#turns = new Turns(maxWaiting);
    // A file that was made anew has another log, so what it mints is not taken for what the lost one had written.
    this.#replica = deps.store.log.slice(0, 12);
  }

  /** Undefined when there is no such shadow. */
  async get(key: ShadowKey): Promise<ShadowView | undefined> {
    // Behind what is under way: who is told `accepted` and then asks must find it.
    return this.#inTurn(key, async () => {
      const shadow = await this.#load(key);
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
    },
    commit: (write: Write) => Promise<void>,
  ): Promise<void> {
    const key = { device: order.device, name: order.shadow };
    const operations = parseShadowOperations(order.operations);
    const dead = parseShadowWriteIds(order.dead ?? []);
    refuseForeign(key, operations);
    await this.#turns.take(textOf(key), async () => {
      const before = await this.#load(key);
      const decision = decideShadow(
        before,
        { type: 'merge', operations, dead },
        this.#context(key),
      );
      if (decision.kind !== 'changed') return commit([]);
      await this.#store(key, before, decision, undefined, commit);
    });
  }

  /** The shadows a device has, by name. */
  async namesOf(device: string): Promise<string[]> {
    const rows = await this.#deps.store.read.all<{ name: string }>(
      'SELECT name FROM shadows WHERE device = ? AND is_present = 1 ORDER BY name',
      [device],
    );
    return rows.map(({ name }) => name);
  }

  /** The site's conflicts, or a device's, oldest first. */
  async conflicts(device?: string, limit = 1_000): Promise<ListedConflict[]> {
    const rows = await this.#deps.store.read.all<{
      device: string;
      name: string;
      detected_at: number;
      conflict: string;
    }>(
      `SELECT device, name, detected_at, conflict FROM shadow_conflicts
        WHERE ?1 IS NULL OR device = ?1 ORDER BY detected_at, device, name, id LIMIT ?2`,
      [device ?? null, limit],
    );
    return rows.map(({ device, name, detected_at: detectedAt, conflict }) => ({
      device,
      name,
      detectedAt,
      ...(JSON.parse(conflict) as ShadowConflict), // written by shadowWrite
    }));
  }

  /** Resolves when nothing is under way. The store is its owner's to close. */
  close(): Promise<void> {
    return this.#turns.idle();
  }

  async #decideRequest(request: ShadowRequest): Promise<ShadowOutcome> {
    const before = await this.#load(request);
    const decision = decideShadow(before, request, this.#context(request));
    if (decision.kind === 'refused') {
      return { accepted: false, code: decision.code, message: decision.message };
    }
    if (decision.kind === 'unchanged') return { accepted: true, version: before.version };
    const answer = request.asker && { ...request.asker, ...answerTo(request, decision.operations) };
    await this.#store(request, before, decision, answer, (write) =>
      this.#deps.store.commits.commit(write),
    );
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
      this.#cache.delete(textOf(key));
      throw error;
    }
    this.#remember(key, shadow);
    this.#seen = laterOf(this.#seen, shadow.time);
    if (isTold) this.#deps.kick();
  }

  #context({ name }: ShadowKey) {
    const { clock } = this.#deps;
    return {
      name: name === classicShadow ? 'classic' : name,
      replica: this.#replica,
      seen: this.#seen,
      clock: { now: clock.now(), trusted: clock.trusted },
      limits: this.#limits,
    };
  }

  #inTurn<T>(key: ShadowKey, work: () => Promise<T>): Promise<T> {
    return this.#turns.take(textOf(key), work);
  }

  async #load(key: ShadowKey): Promise<StoredShadow> {
    const cached = this.#cache.get(textOf(key));
    if (cached !== undefined) {
      this.#remember(key, cached);
      return cached;
    }
    const row = await this.#deps.store.read.get<ShadowRow>(selectShadow, [key.device, key.name]);
    const shadow = readShadow(row);
    if (shadow !== noShadow) this.#remember(key, shadow);
    return shadow;
  }

  #remember(key: ShadowKey, shadow: StoredShadow): void {
    const text = textOf(key);
    this.#cache.delete(text);
    this.#cache.set(text, shadow);
    if (this.#cache.size <= this.#maxCached) return;
    const [oldest] = this.#cache.keys();
    if (oldest !== undefined) this.#cache.delete(oldest);
  }
}

/** Reads how far the clock of the shadows has come. */
export const openShadows = async (
  deps: ShadowsDeps,
  options?: ShadowsOptions,
): Promise<Shadows> => {
  const seen = await deps.store.read.get<HybridTime>(
    'SELECT wall, counter FROM shadows ORDER BY wall DESC, counter DESC LIMIT 1',
  );
  return new Shadows(deps, seen ?? zeroTime, options);
};

const textOf = ({ device, name }: ShadowKey): string => `${device}/${name}`;

const answerTo = (request: ShadowRequest, operations: readonly ShadowOperation[]): ShadowAnswer =>
  request.type === 'delete'
    ? { operation: 'delete' }
    : { operation: 'update', state: request.patch, metadata: metadataOf(operations) };

/** The control plane writes `desired`; what a device reported it only gives back to a site that lost it. */
const refuseForeign = ({ device }: ShadowKey, operations: readonly ShadowOperation[]): void => {
  for (const { path, stamp } of operations) {
    if (path[0] === 'desired' || stamp.writer === `device:${device}`) continue;
    throw new HoldfastError('REQUEST_INVALID', 'reported is written by the device alone', {
      data: { device, writer: stamp.writer },
    });
  }
};
