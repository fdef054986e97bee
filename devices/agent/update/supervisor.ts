/**
 * Runs one application at a time as a child of this process, in a process group of its own.
 *
 * In service it is started again after every exit, with backoff. On trial nothing is repaired: what happens is told (`launched`,
 * `healthy`, `exited`, `overdue`), and the update decides. Whatever a killed predecessor of this process left running is ended first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import { awaitHealth } from './app-health.js';
import type { AppManifest } from './app-manifest.js';
import { endGroup, endLeftovers, groupMarker } from './process-group.js';

export interface AppRun {
  /** Names the run in what is told of it. */
  readonly key: string;
  readonly folder: string;
  /** Read before every start: what cannot be read now may be read the next time. */
  readonly manifest: () => Promise<AppManifest>;
  /** Ends the trial; null in service. */
  readonly deadlineMs: number | null;
}

export interface SupervisorHandlers {
  readonly launched: (key: string) => void;
  readonly healthy: (key: string) => void;
  readonly exited: (key: string, error: string) => void;
  readonly overdue: (key: string) => void;
  /** A line the application wrote. */
  readonly said: (line: string) => void;
}

export interface SupervisorOptions {
  /** Marks the processes of this device on this machine; its data folder. */
  readonly owner: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly stopGraceMs?: number;
  readonly firstRestartMs?: number;
}

interface Running {
  /** A trial becomes service while it runs. */
  run: AppRun;
  readonly stop: AbortController;
  /** Its trial ended with its process: nothing starts it again. */
  isOver: boolean;
  ended: Promise<void>;
}

/** An application that ran this long is started again as if it were the first time. */
const steadyAfterMs = 60_000;

export class Supervisor {
  readonly #handlers: SupervisorHandlers;
  readonly #options: Required<SupervisorOptions>;
  #running: Running | null = null;
  #child: ChildProcess | null = null;

  constructor(handlers: SupervisorHandlers, options: SupervisorOptions) {
    this.#handlers = handlers;
    this.#options = { environment: {}, stopGraceMs: 5_000, firstRestartMs: 250, ...options };
  }

  /** Ends what a predecessor left. */
  async open(): Promise<void> {
    await endLeftovers(this.#options.owner, this.#options.stopGraceMs);
  }

  async close(): Promise<void> {
    await this.stop();
  }

  get runningKey(): string | null {
    return this.#running?.run.key ?? null;
  }

  /** This application runs from now on and no other. One that already runs goes on, in service. */
  async run(run: AppRun): Promise<void> {
    const running = this.#running;
    const goesOn = running?.run.key === run.key && !running.isOver && run.deadlineMs === null;
    if (running !== null && goesOn) {
      running.run = run;
      return;
    }
    await this.stop();
    const begun = { run, stop: new AbortController(), isOver: false, ended: Promise.resolve() };
    this.#running = begun;
    begun.ended = this.#serve(begun);
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    running?.stop.abort();
    await running?.ended;
  }

  /** Ends the application's processes; in service it is started again. */
  restart(): void {
    if (this.#child !== null) void endGroup(this.#child, this.#options.stopGraceMs);
  }

  /** Never rejects. */
  async #serve(running: Running): Promise<void> {
    const { signal } = running.stop;
    let delays = backoff({ firstMs: this.#options.firstRestartMs, mostMs: 30_000 });
    while (!signal.aborted) {
      const startedAt = performance.now();
      const error = await this.#runOnce(running.run, signal).catch(messageOf);
      if (signal.aborted) return;
      // A trial that became service meanwhile is repaired like any other.
      running.isOver = running.run.deadlineMs !== null;
      this.#handlers.exited(running.run.key, error);
      if (running.isOver) return;
      if (performance.now() - startedAt > steadyAfterMs) {
        delays = backoff({ firstMs: this.#options.firstRestartMs, mostMs: 30_000 });
      }
      await wait(delays.next().value ?? 0, signal).catch(() => undefined);
    }
  }

  /** One process from its start to its end; gives why it ended. Rejects when there was none. */
  async #runOnce(run: AppRun, signal: AbortSignal): Promise<string> {
    const { owner, environment, stopGraceMs } = this.#options;
    const manifest = await run.manifest();
    signal.throwIfAborted();
    const [program = '', ...parameters] = manifest.command;
    const child = spawn(program, parameters, {
      cwd: run.folder,
      // Its own group, so that what it starts ends with it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment, [groupMarker]: owner },
    });
    this.#child = child;
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(messageOf(error)));
      // Not `close`: what it started may hold its pipes open for ever.
      child.once('exit', (code, by) => resolve(by === null ? `exit ${String(code)}` : by));
    });
    const over = new AbortController();
    const end = () => void endGroup(child, stopGraceMs);
    signal.addEventListener('abort', end, { once: true });
    try {
      await Promise.race([once(child, 'spawn', { signal: over.signal }), exited]);
      if (child.pid !== undefined && !signal.aborted) {
        this.#handlers.launched(run.key);
        this.#watch(run, manifest, child, AbortSignal.any([signal, over.signal]));
      }
      return await exited;
    } finally {
      over.abort();
      signal.removeEventListener('abort', end);
      this.#child = null;
      // Whatever outlived the process itself.
      await endGroup(child, 0);
    }
  }

  #watch(run: AppRun, manifest: AppManifest, child: ChildProcess, signal: AbortSignal): void {
    const health = awaitHealth(child, manifest, signal, this.#handlers.said);
    const deadline = new AbortController();
    health.then(
      () => {
        deadline.abort();
        this.#handlers.healthy(run.key);
      },
      () => undefined,
    );
    if (run.deadlineMs === null) return;
    wait(run.deadlineMs, AbortSignal.any([signal, deadline.signal])).then(
      () => this.#handlers.overdue(run.key),
      () => undefined,
    );
  }
}
