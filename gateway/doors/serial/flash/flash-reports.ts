/**
 * Tells the executions how the flashing of one device stands, as the device itself would. A cancellation that comes while the board is
 * half written must not end the execution under the flash that goes on: so whatever is told then is told of the very state that was seen.
 */
import { randomUUID } from 'node:crypto';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type {
  DeviceExecutions,
  ExecutionReport,
  ExecutionView,
  ReportAnswer,
} from '../../../updates/device-executions.js';
import type { FlashRun } from './flash-state.js';

export interface FlashReportsDeps {
  readonly executions: Pick<DeviceExecutions, 'executionOf' | 'report'>;
  readonly log: StoreLog;
}

/**
 * How long a stage may take before the executions give it up: this gateway has its eye on it and says so again, and a port that is
 * unplugged is not the board's fault.
 */
const patienceMs = 3_600_000;

export class FlashReports {
  readonly #executions: FlashReportsDeps['executions'];
  readonly #log: StoreLog;
  readonly #device: string;
  /** What was told last of writing, and when: steps are worth no commit each. */
  #told = { percent: -1, atMs: 0 };
  #telling: Promise<unknown> = Promise.resolve();

  constructor({ executions, log }: FlashReportsDeps, device: string) {
    this.#executions = executions;
    this.#log = log;
    this.#device = device;
  }

  /** The execution of a run, as long as it is that run's. */
  async viewOf(run: FlashRun): Promise<ExecutionView | undefined> {
    if (run.kind !== 'job') return undefined;
    const view = await this.#executions.executionOf(this.#device, run.job);
    return view?.execution.offers === run.offer ? view : undefined;
  }

  /** Tells it whatever the answer; undefined where nobody is to be told. */
  async say(
    run: FlashRun | null,
    report: Omit<ExecutionReport, 'door'>,
  ): Promise<ReportAnswer | undefined> {
    if (run?.kind !== 'job' || (await this.viewOf(run)) === undefined) return undefined;
    await this.#telling;
    return this.#executions.report(this.#device, run.job, { door: 'serial', ...report });
  }

  /** Asks whether the board may be changed now, with what tells the application's next run from the one before. */
  begin(
    run: FlashRun,
    { isBegun }: { readonly isBegun: boolean },
  ): Promise<ReportAnswer | undefined> {
    return this.say(run, { ...begun(), isBegun });
  }

  /** It is written: what was begun goes on, or is gone on with after a break. */
  async writing(run: FlashRun | null): Promise<void> {
    this.#told = { percent: 0, atMs: performance.now() };
    await this.#stage(run, begun(), 'installing');
  }

  /** How much of it is written, in percent; told now and then. */
  progress(run: FlashRun | null, percent: number): void {
    const now = performance.now();
    const isNews = percent - this.#told.percent >= 5 && now - this.#told.atMs >= 1_000;
    if (run === null || !isNews) return;
    this.#told = { percent, atMs: now };
    this.#telling = this.#stage(run, { status: 'installing', progress: percent }, 'installing');
  }

  /** It goes on as soon as it can; also said again and again, so that nobody gives it up meanwhile. */
  async waits(run: FlashRun | null, reason: string): Promise<void> {
    if (run === null) return;
    const view = await this.viewOf(run);
    const status = view?.execution.status;
    if (status === 'verifying' || status === 'installing' || status === 'rebooting') {
      const progress = view?.execution.progress ?? undefined;
      const said = { status, error: reason, ...(progress !== undefined && { progress }) };
      await this.#stage(run, said, status);
    }
  }

  /** It is written and started, and has yet to say hello; or what ran before is brought back. */
  async restarted(run: FlashRun | null, error?: string): Promise<void> {
    const said = { status: 'rebooting' as const, ...(error !== undefined && { error }) };
    await this.#stage(run, said, 'rebooting');
  }

  /** Nothing is lost with it: it is said again, and what counts is asked and claimed. */
  async #stage(run: FlashRun | null, report: StageReport, furthest: Stage): Promise<void> {
    if (run?.kind !== 'job') return;
    await this.#stageOf(run, report, furthest).catch((err: unknown) =>
      this.#log.warn({ err, device: this.#device }, 'how a board is flashed could not be told'),
    );
  }

  /** Only of an execution that is not past it, and that nobody cancels. */
  async #stageOf(
    run: Extract<FlashRun, { kind: 'job' }>,
    report: StageReport,
    furthest: Stage,
  ): Promise<void> {
    for (let times = 0; times < 3; times += 1) {
      const view = await this.viewOf(run);
      if (view === undefined) return;
      const { status, version } = view.execution;
      if (!until[furthest].includes(status)) return;
      const answer = await this.#executions.report(this.#device, run.job, {
        ...{ door: 'serial', ...report, stepTimeoutMs: patienceMs, expectedVersion: version },
      });
      if (answer.accepted || answer.reason !== 'version') return;
    }
  }
}

const stages = ['offered', 'downloading', 'verifying', 'installing', 'rebooting'];
const until = {
  verifying: stages.slice(0, 3),
  installing: stages.slice(0, 4),
  rebooting: stages,
} as const;
type Stage = keyof typeof until;
type StageReport = Omit<ExecutionReport, 'door' | 'expectedVersion' | 'stepTimeoutMs'>;

/** What runs from here on is the boot loader; the application's next hello is of another run, whatever it calls it. */
const begun = () =>
  ({
    status: 'installing',
    progress: 0,
    boot: `boot-loader-${randomUUID().slice(0, 8)}`,
    stepTimeoutMs: patienceMs,
  }) as const;
