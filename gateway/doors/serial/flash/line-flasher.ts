/**
 * Flashes the microcontroller of one line, as its committed state (flash-machine.ts) says: what there is to do follows from that state
 * alone, so it is taken up after any break without a word of the board, which may be mute until it is whole.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import type { SiteStore } from '../../../store/site-store.js';
import type { DeviceExecutions, ExecutionView } from '../../../updates/device-executions.js';
import { imagesOf, isUnderWay, next, runOf } from './flash-machine.js';
import { flashWrite, readFlash } from './flash-rows.js';
import {
  type FlashEvent,
  type FlashRun,
  type FlashState,
  isSameRun,
  type LineImage,
  unflashed,
} from './flash-state.js';
import type { FlashTasks } from './flash-tasks.js';
import { lineImage } from './line-images.js';

export interface LineFlasherDeps {
  readonly site: SiteStore;
  readonly executions: Pick<DeviceExecutions, 'executionsOf' | 'executionOf'>;
  readonly tasks: FlashTasks;
  readonly now: () => number;
  readonly log: StoreLog;
}

/** What is done for a state; the same key is the same work, which goes on. */
interface Task {
  readonly key: string;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export class LineFlasher {
  readonly device: string;
  readonly #deps: LineFlasherDeps;
  readonly #stop = new AbortController();
  #state: FlashState = unflashed;
  #isOpen = false;
  #turn: Promise<unknown> = Promise.resolve();
  #current: { readonly key: string; readonly end: AbortController } | undefined;
  #tasks: Promise<void> = Promise.resolve();
  #looking: Promise<void> | undefined;
  #isLookDue = false;

  constructor(deps: LineFlasherDeps, device: string) {
    this.#deps = deps;
    this.device = device;
  }

  get state(): FlashState {
    return this.#state;
  }

  /** Images that have to stay in the cache. */
  get images(): readonly LineImage[] {
    return imagesOf(this.#state);
  }

  /** Takes up what is on disk. */
  async load(): Promise<void> {
    const { state, problem } = await readFlash(this.#deps.site.read, this.device);
    this.#state = state;
    if (problem !== undefined) {
      this.#deps.log.error(
        { device: this.device, problem },
        'how a line was flashed cannot be read',
      );
    }
  }

  /** Goes on with what is open. */
  open(): void {
    this.#isOpen = true;
    this.#perform();
    this.told();
  }

  /** Lets go of the line wherever it is; the next start goes on. Idempotent. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#stop.abort(new HoldfastError('STORE_UNAVAILABLE', 'the gateway is closing'));
    await this.#looking;
    await this.#tasks;
    await this.#turn;
  }

  /** Something about its executions is another: what that is, is looked up. */
  told(): void {
    if (!this.#isOpen) return;
    this.#isLookDue = true;
    this.#looking ??= this.#lookUntilDone();
  }

  /** The application said what it is. Resolves when that is committed. */
  async hello(version: string): Promise<void> {
    await this.apply({ type: 'hello', version });
  }

  /** Decides and commits; what was decided is then done. Rejects as the commit queue does: then nothing has happened. */
  apply(event: FlashEvent): Promise<FlashState> {
    const turn = this.#turn.then(async () => {
      const before = this.#state;
      const after = next(before, event);
      if (after === before) return after;
      await this.#deps.site.commit([flashWrite(this.device, after, this.#deps.now())], {
        // No board is left half written because a disk is full; none is begun then, and none is taken from what mends it.
        isUrgent: isUnderWay(before) && event.type !== 'offered',
      });
      this.#state = after;
      this.#perform();
      // What came while it was busy is taken up now.
      if (after.flash.phase === 'idle' || runOf(after) === null) this.told();
      return after;
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #lookUntilDone(): Promise<void> {
    const delays = backoff({ firstMs: 1_000, mostMs: 30_000 });
    while (this.#isLookDue && !this.#stop.signal.aborted) {
      this.#isLookDue = false;
      try {
        await this.#look();
      } catch (err) {
        this.#isLookDue = true;
        this.#deps.log.warn(
          { err, device: this.device },
          'what is to be flashed waits for the disk',
        );
        await wait(delays.next().value ?? 30_000, this.#stop.signal).catch(() => undefined);
      }
    }
    // In the same breath: what is told a moment later is looked at again.
    this.#looking = undefined;
  }

  /** Compares what is done with what the executions say. */
  async #look(): Promise<void> {
    const run = runOf(this.#state);
    if (run?.kind === 'job') {
      const view = await this.#deps.executions.executionOf(this.device, run.job);
      const status = view?.execution.offers === run.offer ? view.execution.status : undefined;
      if (status === undefined || status === 'queued' || isTerminal(status)) {
        await this.apply({ type: 'ended', run, succeeded: status === 'succeeded' });
      } else if (status === 'cancelling') await this.apply({ type: 'cancelling', run });
    }
    const open = this.#deps.executions.executionsOf(this.device).find(isOpen);
    if (open === undefined || open.image === null) return;
    const { campaign, execution } = open;
    const wanted = { kind: 'job', job: campaign.id, offer: execution.offers } as const;
    if (isSameRun(runOf(this.#state), wanted)) return;
    await this.apply({ type: 'offered', run: wanted, image: lineImage(open.image) });
  }

  #perform(): void {
    const task = this.#isOpen ? this.#taskOf(this.#state) : undefined;
    if (task?.key === this.#current?.key) return;
    this.#current?.end.abort(
      new HoldfastError('RESOURCE_CONFLICT', 'there is something else to do'),
    );
    this.#current = undefined;
    if (task === undefined) return;
    const end = new AbortController();
    this.#current = { key: task.key, end };
    const signal = AbortSignal.any([end.signal, this.#stop.signal]);
    this.#tasks = this.#tasks.then(() => this.#run(task, signal));
  }

  /** Repeats what the site was in the way of; whatever changes the state ends it. */
  async #run(task: Task, signal: AbortSignal): Promise<void> {
    let delays = backoff({ firstMs: 1_000, mostMs: 30_000 });
    while (!signal.aborted) {
      const startedAt = performance.now();
      try {
        await task.run(signal);
      } catch (err) {
        if (signal.aborted) return;
        this.#deps.tasks.troubled(messageOf(err));
        if (!isHoldfastError(err, 'STORE_UNAVAILABLE')) {
          this.#deps.log.warn(
            { err, device: this.device },
            'a microcontroller could not be flashed yet',
          );
        }
      }
      if (performance.now() - startedAt > 60_000)
        delays = backoff({ firstMs: 1_000, mostMs: 30_000 });
      await wait(delays.next().value ?? 30_000, signal).catch(() => undefined);
    }
  }

  #taskOf({ flash }: FlashState): Task | undefined {
    const { tasks } = this.#deps;
    const own = { state: () => this.#state, apply: (event: FlashEvent) => this.apply(event) };
    switch (flash.phase) {
      case 'idle':
        return undefined;
      case 'checking':
        return {
          key: `check ${flash.image.sha256} ${keyOf(flash.run)}`,
          run: (signal) => tasks.check(own, signal),
        };
      case 'waiting':
      case 'writing':
      case 'restoring':
        return {
          key: `flash ${flash.image.sha256}`,
          run: (signal) => tasks.flash(own, signal),
        };
      case 'proving':
        if (flash.isUp) {
          return { key: `claim ${flash.image.sha256}`, run: () => tasks.claim(own) };
        }
        return { key: `prove ${flash.image.sha256}`, run: (signal) => tasks.listen(own, signal) };
      case 'returning':
        return { key: `return ${flash.image.sha256}`, run: (signal) => tasks.listen(own, signal) };
      case 'settled':
        return {
          key: `tell ${keyOf(flash.run)} ${flash.outcome}`,
          run: () => tasks.tell(own),
        };
    }
  }
}

const keyOf = (run: FlashRun): string => JSON.stringify(run);

/** Of a line: before the restart, it is this gateway's to carry out. */
const isOpen = ({ execution, image }: ExecutionView): boolean =>
  image !== null &&
  execution.door === 'serial' &&
  ['offered', 'downloading', 'verifying', 'installing'].includes(execution.status);
