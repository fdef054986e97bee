/**
 * Carries out what the update machine decides: one event after the other, each state committed before its effects begin.
 *
 * Long work (downloading, verifying, installing) goes on beside and comes back as an event. A commit that fails is tried again until it
 * succeeds: what was decided is neither done uncommitted nor forgotten.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import type { Log } from '../log.js';
import { next } from './update-machine.js';
import type {
  InstalledApp,
  JobStatus,
  Slot,
  Trial,
  UpdateEffect,
  UpdateEvent,
  UpdateJob,
  UpdateState,
} from './update-state.js';

/** What an update does to a device; everything may be asked for again after a break. */
export interface UpdatePlatform {
  download(
    job: UpdateJob,
    signal: AbortSignal,
    onProgress: (percent: number) => void,
  ): Promise<void>;
  verify(job: UpdateJob, signal: AbortSignal): Promise<void>;
  install(job: UpdateJob, slot: Slot, signal: AbortSignal): Promise<Trial>;
  run(slot: Slot, app: InstalledApp, trial: Trial | null): Promise<void>;
  stop(): Promise<void>;
  discard(job: UpdateJob): Promise<void>;
}

export interface UpdateReport {
  readonly status: JobStatus;
  readonly error: string | null;
  readonly progress: number | null;
  /** What runs now; null when nothing was ever installed. */
  readonly version: string | null;
}

/** Tells the gateway; what cannot be told now is told again with the next session. */
export interface UpdateReporter {
  /** Whether the gateway answers reports; where it does not, nobody is asked before an installation. */
  readonly isAnswered?: boolean;
  report(job: UpdateJob, report: UpdateReport): void;
  ask(): void;
}

export interface UpdaterDeps {
  readonly record: StoredRecord<UpdateState>;
  readonly platform: UpdatePlatform;
  readonly reporter: UpdateReporter;
  readonly log: Log;
}

type Work = Extract<UpdateEffect, { type: 'download' | 'verify' | 'install' }>;

interface WorkUnderWay {
  readonly name: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

export class Updater {
  readonly #deps: UpdaterDeps;
  readonly #closing = new AbortController();
  #decided: Promise<void> = Promise.resolve();
  #work: WorkUnderWay | null = null;

  constructor(deps: UpdaterDeps) {
    this.#deps = deps;
  }

  get state(): UpdateState {
    return this.#deps.record.data;
  }

  /** The version of what the pointer names. */
  get version(): string | null {
    const { active, slots } = this.state;
    return active === null ? null : (slots[active]?.version ?? null);
  }

  /** Takes up whatever was committed before this process started. */
  open(): Promise<void> {
    return this.dispatch({ type: 'started' });
  }

  /** Resolves when the event was decided, committed and its effects begun. */
  dispatch(event: UpdateEvent): Promise<void> {
    this.#decided = this.#decided.then(() => this.#decide(event));
    return this.#decided;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#endWork();
    await this.#decided;
  }

  async #decide(event: UpdateEvent): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const before = this.state;
    const { state, effects } = next(before, event);
    if (state !== before && !(await this.#commit(state))) return;
    if (state.update.phase !== before.update.phase) {
      this.#deps.log.info({ phase: state.update.phase, event: event.type }, 'update');
    }
    for (const effect of effects) {
      if (this.#closing.signal.aborted) return;
      // What fails here is done again at the next start; what comes after must not wait for that.
      await this.#perform(effect).catch((error: unknown) =>
        this.#deps.log.error({ effect: effect.type, error: messageOf(error) }, 'update'),
      );
    }
  }

  async #commit(state: UpdateState): Promise<boolean> {
    for (const delayMs of backoff({ firstMs: 500, mostMs: 30_000 })) {
      try {
        await this.#deps.record.update(() => state);
        return true;
      } catch (error) {
        this.#deps.log.error({ error: messageOf(error) }, 'the update cannot be committed');
      }
      await wait(delayMs, this.#closing.signal).catch(() => undefined);
      if (this.#closing.signal.aborted) return false;
    }
    return false;
  }

  async #perform(effect: UpdateEffect): Promise<void> {
    const { platform, reporter, log } = this.#deps;
    switch (effect.type) {
      case 'report':
        reporter.report(effect.job, {
          status: effect.status,
          error: effect.error,
          progress: null,
          version: this.version,
        });
        return;
      case 'request':
        reporter.report(effect.job, {
          status: 'installing',
          error: null,
          progress: null,
          version: this.version,
        });
        if (reporter.isAnswered !== true) {
          void this.dispatch({ type: 'permitted', jobId: effect.job.id });
        }
        return;
      case 'ask':
        reporter.ask();
        return;
      case 'download':
      case 'verify':
      case 'install':
        await this.#begin(effect);
        return;
      case 'discard':
        await this.#endWork();
        await platform
          .discard(effect.job)
          .catch((error: unknown) => log.warn({ error: messageOf(error) }, 'not discarded'));
        return;
      case 'stop':
        await platform.stop();
        return;
      case 'run':
        await this.#run(effect.slot, effect.trial);
    }
  }

  async #run(slot: Slot, trial: Trial | null): Promise<void> {
    const app = this.state.slots[slot];
    if (app === null) return;
    try {
      await this.#deps.platform.run(slot, app, trial);
    } catch (error) {
      this.#deps.log.error({ slot, error: messageOf(error) }, 'the application does not start');
      void this.dispatch({ type: 'exited', slot, error: messageOf(error) });
    }
  }

  async #begin(effect: Work): Promise<void> {
    const name = `${effect.type} ${effect.job.id}`;
    if (this.#work?.name === name) return;
    await this.#endWork();
    const abort = new AbortController();
    const done = this.#workOn(effect, abort.signal)
      .catch((error: unknown): UpdateEvent => {
        const text = messageOf(error);
        return { type: 'failed', jobId: effect.job.id, error: `${effect.type}: ${text}` };
      })
      .then((event) => {
        if (this.#work?.abort === abort) this.#work = null;
        if (!abort.signal.aborted) void this.dispatch(event);
      });
    this.#work = { name, abort, done };
  }

  async #workOn(effect: Work, signal: AbortSignal): Promise<UpdateEvent> {
    const { platform, reporter } = this.#deps;
    const { job } = effect;
    switch (effect.type) {
      case 'download': {
        const { version } = this;
        await platform.download(job, signal, (progress) => {
          // Every ten percent: each report is a commit on the gateway's side.
          if (progress % 10 !== 0) return;
          reporter.report(job, { status: 'downloading', error: null, progress, version });
        });
        return { type: 'downloaded', jobId: job.id };
      }
      case 'verify':
        await platform.verify(job, signal);
        return { type: 'verified', jobId: job.id };
      case 'install':
        return {
          type: 'installed',
          jobId: job.id,
          trial: await platform.install(job, effect.slot, signal),
        };
    }
  }

  async #endWork(): Promise<void> {
    const work = this.#work;
    this.#work = null;
    work?.abort.abort(new Error('no longer wanted'));
    await work?.done;
  }
}
