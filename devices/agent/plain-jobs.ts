/**
 * Jobs that are no updates: a document whose `operation` names one of the handlers that this device is configured with. Any other is
 * rejected: a job runs what the device's owner has put there, and nothing that it brings along.
 *
 * What is begun is committed before it begins, its result before it is told, and told until the gateway has taken it. A job that was under
 * way when the device stopped is not begun again by itself: it has failed, and the gateway decides about another attempt.
 */
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JobUpdateRequest } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from './log.js';

/** Does a job; what it gives is told of it, by name. Rejects when it fails. */
export type JobWork = (
  document: JsonObject,
  signal: AbortSignal,
) => Promise<Readonly<Record<string, string>>>;

export interface PlainJobsDeps {
  readonly handlers: ReadonlyMap<string, JobWork>;
  /** Dropped while there is no session: `connected` tells it again. */
  readonly tell: (job: string, update: JobUpdateRequest) => void;
  readonly log: Log;
}

interface Entry {
  readonly id: string;
  readonly status: 'in_progress' | 'succeeded' | 'failed' | 'rejected' | 'cancelled';
  readonly error: string | null;
  readonly details: Readonly<Record<string, string>>;
}

interface Running {
  readonly id: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/** More than one at a time is not offered; what was never answered is forgotten some time. */
const mostEntries = 50;
const maxErrorLength = 1_000;

export class PlainJobs {
  readonly #deps: PlainJobsDeps;
  readonly #record: StoredRecord<readonly Entry[]>;
  #running: Running | null = null;

  private constructor(deps: PlainJobsDeps, record: StoredRecord<readonly Entry[]>) {
    this.#deps = deps;
    this.#record = record;
  }

  static async open(
    deps: PlainJobsDeps,
    { dataDir }: { readonly dataDir: string },
  ): Promise<PlainJobs> {
    const record = await openRecord<readonly Entry[]>({
      path: join(dataDir, 'jobs.json'),
      parse: (value) => v.parse(entriesSchema, value),
      initial: [],
      log: deps.log,
    });
    const jobs = new PlainJobs(deps, record);
    for (const { id, status } of record.data) {
      if (status !== 'in_progress') continue;
      await jobs.#end(id, { status: 'failed', error: 'the device stopped while it was under way' });
    }
    return jobs;
  }

  knows(id: string): boolean {
    return this.#record.data.some((entry) => entry.id === id);
  }

  /** Tells everything that was not taken, and what is under way. */
  connected(): void {
    for (const entry of this.#record.data) this.#tell(entry);
  }

  async offered(id: string, document: JsonObject): Promise<void> {
    const known = this.#record.data.find((entry) => entry.id === id);
    if (known !== undefined) {
      this.#tell(known);
      return;
    }
    const { operation } = document;
    const work = typeof operation === 'string' ? this.#deps.handlers.get(operation) : undefined;
    const begun: Entry = { id, status: 'in_progress', error: null, details: {} };
    await this.#record.update((entries) => [...entries, begun].slice(-mostEntries));
    if (work === undefined) {
      const error =
        typeof operation === 'string'
          ? `This device knows no operation ${operation.slice(0, 100)}`
          : 'The document has no operation';
      await this.#end(id, { status: 'rejected', error });
      return;
    }
    this.#tell(begun);
    // What is offered instead takes its place.
    await this.#stop();
    const abort = new AbortController();
    this.#running = { id, abort, done: this.#work(id, document, work, abort.signal) };
  }

  /** The gateway takes this one back, or with null whatever there is. */
  async cancelled(id: string | null): Promise<void> {
    await this.#stop(id);
    // Where it ended by itself meanwhile, that is the answer.
    const entry = this.#record.data.find((one) => one.id === id);
    if (entry !== undefined) this.#tell(entry);
  }

  /** The gateway has taken this status of it; with null, it has nothing more to do with this job. */
  async answered(id: string, status: string | null): Promise<void> {
    const entry = this.#record.data.find((one) => one.id === id);
    if (entry === undefined) return;
    if (status === null) await this.#stop(id);
    else if (entry.status === 'in_progress' || entry.status !== status) return;
    await this.#record.update((entries) => entries.filter((one) => one.id !== id));
  }

  async close(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    running?.abort.abort('close');
    await running?.done;
  }

  async #stop(id: string | null = null): Promise<void> {
    const running = this.#running;
    if (id !== null && running?.id !== id) return;
    this.#running = null;
    running?.abort.abort('cancelled');
    await running?.done;
  }

  async #work(id: string, document: JsonObject, work: JobWork, signal: AbortSignal): Promise<void> {
    try {
      const details = await work(document, signal);
      await this.#end(id, { status: 'succeeded', details });
    } catch (error) {
      // The next start finds it under way.
      if (signal.reason === 'close') return;
      const ended = signal.aborted
        ? ({ status: 'cancelled' } as const)
        : ({ status: 'failed', error: messageOf(error) } as const);
      await this.#end(id, ended).catch((failure: unknown) =>
        this.#deps.log.error({ id, error: messageOf(failure) }, 'a job is not recorded'),
      );
    }
    if (this.#running?.id === id) this.#running = null;
  }

  async #end(id: string, change: Pick<Entry, 'status'> & Partial<Entry>): Promise<void> {
    const error = change.error?.slice(0, maxErrorLength) ?? null;
    await this.#record.update((entries) =>
      entries.map((entry) => (entry.id === id ? { ...entry, ...change, error } : entry)),
    );
    const entry = this.#record.data.find((one) => one.id === id);
    if (entry !== undefined) this.#tell(entry);
  }

  #tell({ id, status, error, details }: Entry): void {
    this.#deps.tell(id, {
      status,
      ...(error !== null && { error }),
      ...(Object.keys(details).length > 0 && { details }),
      client_token: status,
    });
  }
}

const entriesSchema = v.array(
  v.object({
    id: v.string(),
    status: v.picklist(['in_progress', 'succeeded', 'failed', 'rejected', 'cancelled']),
    error: v.nullable(v.string()),
    details: v.record(v.string(), v.string()),
  }),
);
