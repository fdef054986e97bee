/**
 * Updates and plain jobs over the jobs topics: offers in, reports out. Reports say what is true now, so what could not be said is not kept: the next
 * connection makes the updater say it again.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  type JobNotifyPayload,
  type JobUpdateRequest,
  nextJob,
  parseJobNotify,
} from '@holdfast/protos/mqtt/job-payload';
import { isJsonObject, parseJson } from '@holdfast/protos/mqtt/json-payload';
import { buildTopic, type Topic } from '@holdfast/protos/mqtt/topics';
import { parseUpdateDocument, type UpdateDelta } from '@holdfast/protos/mqtt/update-document';
import type { Log } from './log.js';
import type { PlainJobs } from './plain-jobs.js';
import type { DeviceSession } from './session.js';
import type { JobDelta, Update, UpdateEvent, UpdateJob } from './update/update-state.js';
import type { UpdateReport, UpdateReporter } from './update/updater.js';

export interface JobsClientDeps {
  readonly session: Pick<DeviceSession, 'publish' | 'isConnected'>;
  readonly dispatch: (event: UpdateEvent) => Promise<void>;
  readonly bootId: () => string;
  readonly phase: () => Update['phase'];
  /** Takes what is no update. */
  readonly jobs: () => PlainJobs;
  readonly log: Log;
}

export interface JobsClientOptions {
  readonly device: string;
  readonly model: () => string;
  /** After which it is asked again what may not begin yet. */
  readonly askAgainMs: number;
}

export const jobFilters = (device: string): readonly string[] => [
  `dt/${device}/jobs/notify`,
  `dt/${device}/jobs/+/get/+`,
  `dt/${device}/jobs/+/update/+`,
];

type JobTopic = Extract<Topic, { kind: 'jobs_notify' | 'job_answer' }>;

/** More explains nothing, and the payload has a limit. */
const maxErrorLength = 1_000;

const final: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

export class JobsClient implements UpdateReporter {
  readonly isAnswered = true;
  readonly #deps: JobsClientDeps;
  readonly #options: JobsClientOptions;
  #askingAgain: NodeJS.Timeout | undefined;

  constructor(deps: JobsClientDeps, options: JobsClientOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  report(job: UpdateJob, { status, error, progress, step, version }: UpdateReport): void {
    this.#publish(job.id, 'update', {
      status,
      ...(progress !== null && { progress }),
      ...(error !== null && { error: error.slice(0, maxErrorLength) }),
      ...(version !== null && { version }),
      ...(step !== undefined && { details: { step } }),
      boot_id: this.#deps.bootId(),
      client_token: status,
    });
  }

  /** Of a plain job. */
  tell(job: string, update: JobUpdateRequest): void {
    this.#publish(job, 'update', update);
  }

  ask(): void {
    this.#publish(nextJob, 'get', {});
  }

  async receive(topic: JobTopic, payload: Uint8Array): Promise<void> {
    if (
      topic.kind === 'jobs_notify' ||
      (topic.operation === 'get' && topic.outcome === 'accepted')
    ) {
      const parsed = parseJobNotify(payload);
      if (parsed.ok) await this.#offer(parsed.value);
      else this.#deps.log.warn({ reason: parsed.reason }, 'an offer cannot be read');
    } else if (topic.operation === 'update') {
      await this.#answered(topic.job, topic.outcome, payload);
    }
  }

  async #offer({ execution }: JobNotifyPayload): Promise<void> {
    const jobs = this.#deps.jobs();
    if (execution?.status === 'cancelling' && jobs.knows(execution.job_id)) {
      await jobs.cancelled(execution.job_id);
      return;
    }
    if (execution === null || execution.status === 'cancelling') {
      await jobs.cancelled(null);
      await this.#deps.dispatch({ type: 'withdrawn' });
      // One that is past its pointer's move goes on, and its outcome is the answer.
      if (execution !== null && this.#deps.phase() === 'idle') {
        this.#publish(execution.job_id, 'update', { status: 'cancelled' });
      }
      return;
    }
    if (execution.document.operation !== 'update') {
      await jobs.offered(execution.job_id, execution.document);
      return;
    }
    const document = parseUpdateDocument(execution.document);
    if (!document.ok) {
      this.#publish(execution.job_id, 'update', { status: 'failed', error: document.reason });
      return;
    }
    const { campaign_id, version, model, url, sha256, size_bytes, deltas } = document.value;
    await this.#deps.dispatch({
      type: 'offered',
      deviceModel: this.#options.model(),
      job: {
        id: execution.job_id,
        campaignId: campaign_id,
        version,
        model,
        url,
        sha256,
        sizeBytes: size_bytes,
        ...(deltas && { deltas: deltas.map(jobDeltaOf) }),
      },
    });
  }

  async #answered(
    jobId: string,
    outcome: 'accepted' | 'rejected',
    payload: Uint8Array,
  ): Promise<void> {
    const parsed = parseJson(payload);
    const { client_token, code, message } =
      parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
    const jobs = this.#deps.jobs();
    if (jobs.knows(jobId)) {
      const isOver = outcome === 'rejected' && (code === 404 || code === 409);
      if (isOver) await jobs.answered(jobId, null);
      else if (outcome === 'accepted') await jobs.answered(jobId, String(client_token));
      // What comes next is not told of itself.
      if (!jobs.knows(jobId)) this.ask();
      return;
    }
    if (outcome === 'rejected') {
      if (code === 423) {
        this.#deps.log.info({ job: jobId, message: message ?? null }, 'the update waits');
        this.#askAgainLater();
        return;
      }
      this.#deps.log.warn({ job: jobId, code: code ?? null }, 'the gateway does not take a report');
      // Only these say that the job is over; any other refusal is of the report, not of the job.
      if (code === 404 || code === 409) await this.#deps.dispatch({ type: 'refused', jobId });
    } else if (typeof client_token === 'string' && final.includes(client_token)) {
      await this.#deps.dispatch({ type: 'answered', jobId });
    } else if (client_token === 'installing') {
      await this.#deps.dispatch({ type: 'permitted', jobId });
    }
  }

  /** The gateway does not say it of itself when the time has come. */
  #askAgainLater(): void {
    clearTimeout(this.#askingAgain);
    const again = (): void => {
      // Like a new session, it makes the updater say how far it is.
      if (this.#deps.phase() === 'waiting') void this.#deps.dispatch({ type: 'connected' });
    };
    this.#askingAgain = setTimeout(again, this.#options.askAgainMs).unref();
  }

  #publish(job: string, operation: 'get' | 'update', body: object): void {
    if (!this.#deps.session.isConnected) return;
    const { device } = this.#options;
    const topic = buildTopic({ kind: 'job_request', operation, device, job });
    this.#deps.session.publish(topic, body).catch((error: unknown) => {
      this.#deps.log.info({ job, error: messageOf(error) }, 'the job waits');
    });
  }
}

const jobDeltaOf = ({ from_sha256, url, format, sha256, size_bytes }: UpdateDelta): JobDelta => ({
  fromSha256: from_sha256,
  url,
  format,
  sha256,
  sizeBytes: size_bytes,
});
