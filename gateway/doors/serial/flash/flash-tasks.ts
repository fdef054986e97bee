/** What is done for each state of a line's flashing: looking at the release, having the line, listening for the application, telling. */
import type { FlashProgress } from '@holdfast/devices/serial/flash/loader-protocol';
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isTerminal } from '@holdfast/protos/link/execution-status';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import type { Closed } from '../../../updates/site-windows.js';
import {
  type FlashSessionDeps,
  type FlashSessionOptions,
  flashSession,
  tellRestart,
} from './flash-session.js';
import type { FlashEvent, FlashState } from './flash-state.js';
import type { LineWatch } from './line-watch.js';

export interface FlashTasksDeps extends FlashSessionDeps {
  readonly watch: LineWatch;
  /** Why the device may not be given it now; undefined when it may. */
  readonly refusal: (state: FlashState) => string | undefined;
  /** Whether it may begin to change the device; what it is given it holds until `done`. Throws where nothing of the device is taken. */
  readonly mayBegin: (
    state: FlashState,
  ) => { readonly closed: Closed } | { readonly done: () => void } | undefined;
}

export interface FlashTasksOptions extends Pick<FlashSessionOptions, 'part' | 'baudRate'> {
  /** How long the application has to say hello, on a line that is up. */
  readonly proofTimeoutMs: (state: FlashState) => number;
  /** How often it asks again whether it may begin. */
  readonly askEveryMs?: number;
}

/** The state that is committed, and how it moves on. */
export interface FlashOwner {
  state(): FlashState;
  apply(event: FlashEvent): Promise<FlashState>;
}

/** How far it is, for people. */
export interface FlashStanding {
  readonly stage: FlashProgress['stage'] | null;
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** What is in the way; null while it goes on. */
  readonly trouble: string | null;
}

const still: FlashStanding = { stage: null, doneBytes: 0, totalBytes: 0, trouble: null };

/** Until a line that went is seen to be down. */
const lineChangesMs = 100;

/** How often an application has its time anew since its port went. */
const mostRenewals = 3;
/** What each loss after those costs it at least. */
const leastUpMs = 5_000;

/** An hour is what a report buys. */
const sayAgainEveryMs = 600_000;

export class FlashTasks {
  readonly #deps: FlashTasksDeps;
  readonly #options: FlashTasksOptions & { readonly askEveryMs: number };
  #standing = still;

  constructor(deps: FlashTasksDeps, options: FlashTasksOptions) {
    this.#deps = deps;
    this.#options = { askEveryMs: 5_000, ...options };
  }

  get standing(): FlashStanding {
    return this.#standing;
  }

  troubled(trouble: string | null): void {
    this.#standing = { ...this.#standing, trouble };
  }

  /** Looks at the release again, and at every byte of its image, before anything happens to the board. */
  async check({ state, apply }: FlashOwner, signal: AbortSignal): Promise<void> {
    const { flash: checking } = state();
    if (checking.phase !== 'checking') return;
    const { reports, images, refusal } = this.#deps;
    this.#standing = still;
    await reports.say(checking.run, { status: 'downloading' });
    const refused = refusal(state());
    if (refused !== undefined) {
      await apply({ type: 'refused', error: refused });
      return;
    }
    try {
      await images.read(checking.image, this.#options.part, signal);
    } catch (error) {
      if (!isOfImage(error)) throw error;
      await apply({ type: 'refused', error: described(error) });
      return;
    }
    await reports.say(checking.run, { status: 'verifying' });
    await apply({ type: 'checked' });
  }

  /** Has the line for itself until the board holds the image; goes on with what was begun, whoever wants it no more. */
  async flash(owner: FlashOwner, signal: AbortSignal): Promise<void> {
    const pauses = backoff({ firstMs: 2_000, mostMs: 60_000 });
    while (!signal.aborted) {
      await this.#lineUp(owner, signal);
      const begin = await this.#begin(owner, signal);
      if (begin === undefined) return;
      try {
        await this.#session(owner, signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        this.troubled(described(error));
        if (isHoldfastError(error, 'UPDATE_WINDOW_CLOSED')) {
          await wait(this.#options.askEveryMs, signal);
          continue;
        }
        // The port went: it is waited for. Nothing of that is the board's fault.
        if (isOfLine(error)) {
          await wait(lineChangesMs, signal);
          continue;
        }
        const before = owner.state();
        if (!isOfBoard(error) && !this.#isLost(before, error)) throw error;
        const after = await owner.apply({ type: 'failed', error: described(error) });
        if (after !== before) return;
      } finally {
        begin.done();
      }
      await wait(pauses.next().value ?? 60_000, signal);
    }
  }

  /** The application has its time to say hello while its line is up. */
  async listen(owner: FlashOwner, signal: AbortSignal): Promise<void> {
    const { watch, images, reports } = this.#deps;
    const { state, apply } = owner;
    let leftMs = this.#options.proofTimeoutMs(state());
    let losses = 0;
    while (leftMs > 0) {
      await this.#lineUp(owner, signal);
      await tellRestart(reports, state());
      const sliceMs = Math.min(leftMs, sayAgainEveryMs);
      const upAt = performance.now();
      if (await watch.whileUp(sliceMs, signal)) {
        leftMs -= sliceMs;
        continue;
      }
      losses += 1;
      // A port that comes back may have restarted the board: it has its time anew. But for one whose application falls over again and again, and
      // takes the port of its own chip along.
      leftMs =
        losses <= mostRenewals
          ? this.#options.proofTimeoutMs(state())
          : leftMs - Math.max(performance.now() - upAt, leastUpMs);
    }
    const { flash: mute } = state();
    const former = mute.phase === 'proving' ? mute.former : null;
    await apply({ type: 'silent', restorable: former !== null && images.isHeld(former) });
  }

  /** The executions have seen the hello before: with that it is proven. */
  async claim({ state, apply }: FlashOwner): Promise<void> {
    const { flash: up } = state();
    if (up.phase !== 'proving' || up.run === null) return;
    this.#standing = still;
    const answer = await this.#deps.reports.say(up.run, { status: 'succeeded' });
    const status = answer?.view?.execution.status;
    if (status !== undefined && !isTerminal(status)) return;
    await apply({ type: 'ended', run: up.run, succeeded: status === 'succeeded' });
  }

  async tell({ state, apply }: FlashOwner): Promise<void> {
    const { flash: settled } = state();
    if (settled.phase !== 'settled') return;
    this.troubled(settled.error);
    const { run, outcome, error } = settled;
    await this.#deps.reports.say(run, { status: outcome, error });
    await apply({ type: 'told' });
  }

  #session(owner: FlashOwner, signal: AbortSignal): Promise<void> {
    const onProgress = (progress: FlashProgress): void => {
      this.#standing = { ...progress, trouble: null };
    };
    return flashSession(this.#deps, owner, { ...this.#options, signal, onProgress });
  }

  /**
   * Whether the image is not here any more, of those that may never come back: what ran before, and what a person wanted. Nobody may have the
   * board flashed as long as they are waited for; a campaign's is fetched again, and its attempt has an end.
   */
  #isLost({ flash: of }: FlashState, error: unknown): boolean {
    if (!isHoldfastError(error, 'STORE_UNAVAILABLE')) return false;
    const isWaitedFor =
      of.phase === 'restoring' || (of.phase === 'writing' && of.run?.kind === 'hand');
    return isWaitedFor && !this.#deps.images.isHeld(of.image);
  }

  /** Resolves when there is a port to begin with. */
  async #lineUp({ state }: FlashOwner, signal: AbortSignal): Promise<void> {
    const { watch, reports } = this.#deps;
    while (!watch.isUp) {
      const { flash: of } = state();
      const reason = `waits for its line: ${watch.reason}`;
      this.troubled(reason);
      if ('run' in of) await reports.waits(of.run, reason);
      const soon = AbortSignal.any([signal, AbortSignal.timeout(sayAgainEveryMs)]);
      await watch.up(soon).catch(() => signal.throwIfAborted());
    }
  }

  /** Before the first byte somebody may forbid it: then it asks again. Undefined: it is not to be begun any more. */
  async #begin(
    { state, apply }: FlashOwner,
    signal: AbortSignal,
  ): Promise<{ readonly done: () => void } | undefined> {
    const { reports, mayBegin, refusal } = this.#deps;
    for (;;) {
      const now = state();
      if (now.flash.phase !== 'waiting') return { done: () => undefined };
      // It may have waited for days, and the board believes whatever it is given.
      const refused = refusal(now);
      if (refused !== undefined) {
        await apply({ type: 'refused', error: refused });
        return undefined;
      }
      const { run, damage } = now.flash;
      const asked = damage === null ? mayBegin(now) : { done: () => undefined };
      if (asked === undefined) return undefined;
      if ('done' in asked) return asked;
      this.troubled(asked.closed.reason);
      // The answer to that is what people see it wait for.
      await reports.begin(run, { isBegun: false });
      await wait(this.#options.askEveryMs, signal);
    }
  }
}

/** With its code, by which the page says what to do. */
const described = (error: unknown): string =>
  isHoldfastError(error) ? `${error.code}: ${error.message}` : messageOf(error);

const isOfImage = (error: unknown): boolean =>
  isHoldfastError(error, 'FLASH_IMAGE_INVALID') || isHoldfastError(error, 'FLASH_IMAGE_TOO_LARGE');

const isOfLine = (error: unknown): boolean =>
  isHoldfastError(error, 'SERIAL_LINE_DOWN') || isHoldfastError(error, 'SERIAL_LINE_BUSY');

/** A port that does not take the loader's rate will not with the next try either. */
const isOfBoard = (error: unknown): boolean =>
  isHoldfastError(error) &&
  (error.code.startsWith('FLASH_') || error.code === 'SERIAL_SETTINGS_REFUSED');
