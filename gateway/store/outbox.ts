/**
 * Effects that were decided together with a state and are performed after the commit: at least once, again after a crash, in order
 * within their ordering key. Performing one twice must do no more than once; its id is there to see to that.
 *
 * A row is deleted after it was performed, some together and without the next one waiting: a crash in between performs them again,
 * still in order.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import { type Append, appendTable } from '@holdfast/provisioning/storage/write';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';

const rows = appendTable('outbox', ['id', 'kind', 'ordering_key', 'body'], {
  onConflict: 'ignore',
});

/**
 * An effect for the write that decided it; call `kick` after the commit. One whose id is there already is not added again. Effects of
 * one `orderingKey` (a device, say) are performed one after the other; by default each stands alone.
 */
export const effect = (
  kind: string,
  id: string,
  body: unknown,
  orderingKey: string = id,
): Append => ({
  into: rows,
  row: [id, kind, orderingKey, JSON.stringify(body ?? null)],
});

/**
 * Performs one effect. `body` is what `effect` was given. A rejection is tried again, later and later, and the effects behind it in
 * the same order wait; one that says (HoldfastError, not retryable) that trying again is no use is set aside until the next start.
 */
export type Performer = (body: unknown, id: string, signal: AbortSignal) => Promise<void>;

export interface OutboxDeps {
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly log: StoreLog;
  readonly wait?: Wait;
}

export interface OutboxOptions {
  /** Effects performed at a time. */
  readonly maxAtOnce?: number;
  /** Effects held in memory; the others wait on disk. */
  readonly maxHeld?: number;
  /** The longest time between two attempts, ms. */
  readonly mostBackoffMs?: number;
}

interface Effect {
  readonly seq: number;
  readonly id: string;
  readonly kind: string;
  readonly ordering_key: string;
  readonly body: string;
}

/** How many effects are deleted in one statement. */
const maxDeleted = 1_000;

export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #wait: Wait;
  readonly #maxAtOnce: number;
  readonly #maxHeld: number;
  readonly #mostBackoffMs: number;
  readonly #performers = new Map<string, Performer>();
  readonly #stop = new AbortController();
  /** What is held, by ordering key; the first of each is under way or waits for its turn or its next attempt. */
  readonly #queues = new Map<string, Effect[]>();
  readonly #delays = new Map<string, Iterator<number, void>>();
  #turns: string[] = [];
  #held = 0;
  #active = 0;
  #readUpTo = 0;
  #hasNews = false;
  #isStarted = false;
  #reading: Promise<void> | undefined;
  #done: number[] = [];
  #deleting: Promise<void> | undefined;
  #idleWaiters: (() => void)[] = [];

  constructor(deps: OutboxDeps, options: OutboxOptions = {}) {
    this.#deps = deps;
    this.#wait = deps.wait ?? wait;
    this.#maxAtOnce = options.maxAtOnce ?? 32;
    this.#maxHeld = options.maxHeld ?? 1_024;
    this.#mostBackoffMs = options.mostBackoffMs ?? 60_000;
  }

  /** Says who performs effects of a kind; all are registered before `start`. */
  register(kind: string, performer: Performer): void {
    if (this.#performers.has(kind)) throw new HoldfastError('INTERNAL', `${kind} is registered`);
    this.#performers.set(kind, performer);
  }

  /** Begins with what an earlier start of the program left. */
  start(): void {
    this.#isStarted = true;
    this.kick();
  }

  /** Call after a commit that held effects. Cheap, and one too many does no harm. Before `start` they wait: not all is there yet. */
  kick(): void {
    this.#hasNews = true;
    this.#fill();
  }

  /** Resolves when every effect that was committed before is performed (or set aside) and deleted. */
  idle(): Promise<void> {
    this.kick();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#checkIdle();
    });
  }

  /** Aborts what is under way and waits for it; what was not performed stays for the next start. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new HoldfastError('STORE_UNAVAILABLE', 'The outbox is closing'));
    this.#turns = [];
    while (this.#active > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    await this.#reading;
    await this.#deleting;
  }

  #fill(): void {
    if (
      !this.#isStarted ||
      this.#reading !== undefined ||
      !this.#hasNews ||
      this.#stop.signal.aborted
    )
      return;
    if (this.#held > this.#maxHeld / 2) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      this.#fill();
      this.#checkIdle();
    });
  }

  async #read(): Promise<void> {
    this.#hasNews = false;
    const room = this.#maxHeld - this.#held;
    try {
      const found = await this.#deps.store.read.all<Effect>(
        'SELECT seq, id, kind, ordering_key, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?',
        [this.#readUpTo, room],
      );
      if (found.length === room) this.#hasNews = true;
      for (const effect of found) this.#hold(effect);
    } catch (error) {
      this.#deps.log.error({ reason: messageOf(error) }, 'The outbox could not be read');
      this.#hasNews = true;
      await this.#pause();
    }
    this.#takeTurns();
  }

  #hold(effect: Effect): void {
    this.#readUpTo = effect.seq;
    this.#held++;
    const queue = this.#queues.get(effect.ordering_key);
    if (queue !== undefined) {
      queue.push(effect);
      return;
    }
    this.#queues.set(effect.ordering_key, [effect]);
    this.#turns.push(effect.ordering_key);
  }

  #takeTurns(): void {
    while (this.#active < this.#maxAtOnce && !this.#stop.signal.aborted) {
      const key = this.#turns.shift();
      const effect = key === undefined ? undefined : this.#queues.get(key)?.[0];
      if (effect === undefined) return;
      this.#active++;
      void this.#performFirst(effect);
    }
  }

  /** Never rejects. */
  async #performFirst(effect: Effect): Promise<void> {
    const outcome = await this.#attempt(effect);
    this.#active--;
    if (outcome === 'again') void this.#later(effect);
    else this.#release(effect, outcome);
    this.#takeTurns();
    this.#fill();
    this.#checkIdle();
  }

  async #attempt(effect: Effect): Promise<'performed' | 'set aside' | 'again'> {
    const { id, kind, body } = effect;
    const performer = this.#performers.get(kind);
    if (performer === undefined) {
      this.#deps.log.error({ id, kind }, 'Nobody performs effects of this kind: it stays');
      return 'set aside';
    }
    try {
      await performer(JSON.parse(body), id, this.#stop.signal);
      return 'performed';
    } catch (error) {
      if (this.#stop.signal.aborted) return 'again';
      const isFinal = isHoldfastError(error) && !error.isRetryable;
      const what = isFinal ? 'it stays until the next start' : 'it is tried again';
      this.#deps.log.warn({ id, kind, reason: messageOf(error) }, `An effect failed: ${what}`);
      return isFinal ? 'set aside' : 'again';
    }
  }

  #release({ seq, ordering_key: key }: Effect, outcome: 'performed' | 'set aside'): void {
    this.#held--;
    this.#delays.delete(key);
    const queue = this.#queues.get(key);
    queue?.shift();
    if (queue?.length) this.#turns.push(key);
    else this.#queues.delete(key);
    if (outcome === 'set aside') return;
    this.#done.push(seq);
    this.#deleting ??= this.#delete().finally(() => {
      this.#deleting = undefined;
      this.#checkIdle();
    });
  }

  async #later({ ordering_key: key }: Effect): Promise<void> {
    const delays = this.#delays.get(key) ?? backoff({ firstMs: 500, mostMs: this.#mostBackoffMs });
    this.#delays.set(key, delays);
    await this.#pause(delays.next().value ?? this.#mostBackoffMs);
    if (this.#stop.signal.aborted) return;
    this.#turns.push(key);
    this.#takeTurns();
  }

  /** Never rejects: what cannot be deleted is performed again after the next start, as after a crash. */
  async #delete(): Promise<void> {
    while (this.#done.length > 0) {
      const some = this.#done.splice(0, maxDeleted);
      try {
        const sql = 'DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?))';
        await this.#deps.store.commits.commit([{ sql, params: [JSON.stringify(some)] }]);
      } catch (error) {
        this.#deps.log.warn({ reason: messageOf(error) }, 'Effects performed could not be deleted');
        if (this.#stop.signal.aborted) return;
        this.#done.push(...some);
        await this.#pause();
      }
    }
  }

  #pause(ms = 1_000): Promise<void> {
    return this.#wait(ms, this.#stop.signal).catch(() => undefined);
  }

  #checkIdle(): void {
    const isStopped = this.#stop.signal.aborted && this.#active === 0;
    const isBusy = this.#held > 0 || this.#hasNews || this.#reading || this.#deleting;
    if (isBusy && !isStopped) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
