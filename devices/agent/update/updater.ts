/**
 * Carries out what the update machine decides: one event after the other, each state committed before its effects begin.
 *
 * Long work (downloading, verifying, installing) goes on beside and comes back as an event. A commit that fails is tried again until it
 * succeeds: what was decided is neither done uncommitted nor forgotten.
 */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { aborted, wait } from '@holdfast/provisioning/time/wait';
import type { Log } from '../log.js';
import { next } from './update-machine.js';
import type {
  InstalledApp,
  Installing,
  JobStatus,
  Release,
  Slot,
  Trial,
  Undoing,
  UpdateEffect,
  UpdateEvent,
  UpdateJob,
  UpdateState,
} from './update-state.js';

/** What an update does to a device: an installer with its images. Everything may be asked for again after a break. */
export interface UpdatePlatform {
  /** What the machine runs, where others than this agent decide it; asked at the start. */
  found?(): Promise<Found | null>;
  /** Refuses what would not be installed, as early as it can be told, then fetches it. */
  download(
    job: UpdateJob,
    signal: AbortSignal,
    onProgress: (percent: number) => void,
  ): Promise<void>;
  /** What the release keys have signed of it; rejects whatever this device would not install. */
  verify(job: UpdateJob, signal: AbortSignal): Promise<Release>;
  install(slot: Slot, under: Installing, context: InstallContext): Promise<Trial>;
  /** Takes back what was installed; a restart follows. */
  undo(under: Undoing, signal: AbortSignal): Promise<void>;
  /** Names the machine's boot: another after each restart. */
  bootId(): Promise<string>;
  /** Resolves when the machine has restarted since that boot, or needs no restart for what it goes back to. */
  restart(under: Undoing, since: string, signal: AbortSignal): Promise<void>;
  /** This runs, and nothing else; on trial it tells how it goes. */
  run(slot: Slot, app: InstalledApp, trial: Trial | null): Promise<void>;
  stop(): Promise<void>;
  discard(job: UpdateJob): Promise<void>;
}

export interface Found {
  readonly slot: Slot;
  readonly app: InstalledApp;
}

export interface InstallContext {
  readonly signal: AbortSignal;
  /** Percent of the whole installation. */
  readonly onProgress: (percent: number) => void;
  /** Work that is committed before and after, and skipped once it is done. From the first on there is only forward or back. */
  readonly step: (name: string, work: () => Promise<void>) => Promise<void>;
}

export interface UpdateReport {
  readonly status: JobStatus;
  readonly error: string | null;
  readonly progress: number | null;
  /** The step of the installation that is under way. */
  readonly step?: string;
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

type Work = Extract<UpdateEffect, { type: 'download' | 'verify' | 'install' | 'undo' | 'restart' }>;

/** Every ten percent: each report is a commit on the gateway's side. */
const reportEvery = 10;

const undoAttempts = 3;

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
  async open(): Promise<void> {
    const { platform, log } = this.#deps;
    const found = await platform.found?.().catch((error: unknown) => {
      log.error({ error: messageOf(error) }, 'what runs here is not known');
      return null;
    });
    if (found) await this.dispatch({ type: 'found', ...found });
    await this.dispatch({ type: 'started' });
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
      case 'undo':
      case 'restart':
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
        // Refusals by their names: people and programs look for them.
        const text = isHoldfastError(error) ? `${error.code}: ${error.message}` : messageOf(error);
        return { type: 'failed', jobId: effect.job.id, error: `${effect.type}: ${text}` };
      })
      .then((event) => {
        if (this.#work?.abort === abort) this.#work = null;
        if (!abort.signal.aborted) void this.dispatch(event);
      });
    this.#work = { name, abort, done };
  }

  async #workOn(effect: Work, signal: AbortSignal): Promise<UpdateEvent> {
    const { platform } = this.#deps;
    const { job } = effect;
    const jobId = job.id;
    switch (effect.type) {
      case 'download':
        await platform.download(job, signal, this.#progressOf(job, 'downloading'));
        return { type: 'downloaded', jobId };
      case 'verify':
        return { type: 'verified', jobId, release: await platform.verify(job, signal) };
      case 'install':
        return { type: 'installed', jobId, trial: await this.#install(effect.under, signal) };
      case 'undo': {
        const error = await this.#undo(effect.under, signal);
        return { type: 'undone', jobId, bootId: await platform.bootId(), error };
      }
      case 'restart':
        await this.#restart(effect, signal);
        return { type: 'restarted', jobId };
    }
  }

  #install(under: Installing, signal: AbortSignal): Promise<Trial> {
    const { platform } = this.#deps;
    const { job, target } = under;
    const jobId = job.id;
    const done = new Set(under.steps.filter(({ isDone }) => isDone).map(({ name }) => name));
    let current: string | undefined;
    const onProgress = this.#progressOf(job, 'installing', () => current);
    const step = async (name: string, work: () => Promise<void>): Promise<void> => {
      if (done.has(name)) return;
      const bootId = await platform.bootId();
      await this.#committed({ type: 'stepBegun', jobId, step: name, bootId }, signal);
      current = name;
      await work();
      await this.#committed({ type: 'stepDone', jobId, step: name }, signal);
    };
    return platform.install(target, under, { signal, onProgress, step });
  }

  /** Work that waits for a decision must not hold up the one that ends it. */
  async #committed(event: UpdateEvent, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await Promise.race([this.dispatch(event), aborted(signal)]);
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
  }

  /** Why it could not be undone, or null. */
  async #undo(under: Undoing, signal: AbortSignal): Promise<string | null> {
    let error: string | null = null;
    for (let attempt = 1; attempt <= undoAttempts; attempt += 1) {
      try {
        await this.#deps.platform.undo(under, signal);
        return null;
      } catch (failure) {
        signal.throwIfAborted();
        error = messageOf(failure);
        this.#deps.log.error({ attempt, error }, 'the update is not undone');
      }
    }
    return error;
  }

  /** A machine that does not restart when asked goes on as it is. */
  async #restart(
    { under, since }: Extract<Work, { type: 'restart' }>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#deps.platform.restart(under, since, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      this.#deps.log.error({ error: messageOf(error) }, 'the machine does not restart');
    });
  }

  #progressOf(
    job: UpdateJob,
    status: 'downloading' | 'installing',
    step: () => string | undefined = () => undefined,
  ): (percent: number) => void {
    const { version } = this;
    let told = -1;
    return (percent) => {
      const progress = Math.floor(Math.min(percent, 100) / reportEvery) * reportEvery;
      if (progress <= told) return;
      told = progress;
      const name = step();
      this.#deps.reporter.report(job, {
        status,
        error: null,
        progress,
        version,
        ...(name !== undefined && { step: name }),
      });
    };
  }

  async #endWork(): Promise<void> {
    const work = this.#work;
    this.#work = null;
    work?.abort.abort(new Error('no longer wanted'));
    await work?.done;
  }
}
