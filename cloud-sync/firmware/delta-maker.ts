/**
 * Makes the deltas of firmware, one after the other, in a process of its own at a low priority: after an upload, and now and then for
 * versions that devices have come to run. One that would not be worth its bytes is noted as such; what a restart cuts is begun anew.
 */
import { createReadStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import { makeDelta } from '@holdfast/provisioning/delta/make-delta';
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import type { BlobStore } from '../blobs/blob-store.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type DeltaTask, deltaRow, nextDelta } from './firmware-deltas.js';

export interface DeltaMakerDeps {
  readonly engine: SqlEngine;
  readonly blobs: Pick<BlobStore, 'pathOf' | 'put' | 'sizeOf'>;
  readonly plans: Pick<PlanPublisher, 'requestAll'>;
  readonly schedule: Schedule;
  readonly now: () => number;
  readonly log: {
    info(data: object, message: string): void;
    error(data: object, message: string): void;
  };
}

export interface DeltaMakerOptions {
  /** Where deltas are made; emptied at the start. */
  readonly folder: string;
  /** How many source versions; 0 makes none. */
  readonly deltaSources: number;
  readonly deltaMaxImageBytes: number;
}

const everyTenMinutes = '*/10 * * * *';

/** What a delta may have of the image as it would travel otherwise. */
const worthwhile = { compressed: 0.9, delta: 0.7 };

export class DeltaMaker {
  readonly #deps: DeltaMakerDeps;
  readonly #options: DeltaMakerOptions;
  readonly #closing = new AbortController();
  /** What failed since the last upload: tried again after the next. */
  readonly #failed = new Set<string>();
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;

  constructor(deps: DeltaMakerDeps, options: DeltaMakerOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { folder } = this.#options;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#task = this.#deps.schedule(everyTenMinutes, () => this.run());
    void this.run();
  }

  /** An image has come: also one that was damaged, and that a delta could not be made of. */
  uploaded(): void {
    this.#failed.clear();
    void this.run();
  }

  /** There may be more to make. Resolves when everything is made; never rejects. */
  run(): Promise<void> {
    this.#isAskedAgain = true;
    this.#running ??= this.#runAll().finally(() => {
      this.#running = undefined;
      // Asked just as the last look was over.
      if (this.#isAskedAgain && !this.#closing.signal.aborted) void this.run();
    });
    return this.#running;
  }

  /** Ends the one under way. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the control plane is closing'));
    await this.#task?.stop();
    await this.#running;
  }

  async #runAll(): Promise<void> {
    const { engine, log } = this.#deps;
    const { deltaSources: sources, deltaMaxImageBytes: maxImageBytes } = this.#options;
    try {
      while (this.#isAskedAgain) {
        this.#isAskedAgain = false;
        await this.#forgetLost();
        for (;;) {
          if (this.#closing.signal.aborted) return;
          const choice = { sources, maxImageBytes, isLeftOut: this.#isLeftOut };
          const task = await nextDelta(engine.read, choice);
          if (task === undefined) break;
          await this.#try(task);
        }
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        log.error({ error: messageOf(error) }, 'deltas of firmware could not be made');
      }
    }
  }

  readonly #isLeftOut = (task: DeltaTask): boolean => this.#failed.has(keyOf(task));

  async #try(task: DeltaTask): Promise<void> {
    try {
      await this.#make(task);
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      this.#failed.add(keyOf(task));
      const { firmware, source } = task;
      this.#deps.log.error(
        { firmware: firmware.firmware_id, from: source?.version ?? null, error: messageOf(error) },
        'a delta could not be made; devices get the whole image',
      );
    }
  }

  async #make(task: DeltaTask): Promise<void> {
    const { engine, blobs, plans, now, log } = this.#deps;
    const { firmware, source } = task;
    const { signal } = this.#closing;
    const delta = join(this.#options.folder, 'delta');
    const maxBytes = await this.#maxBytes(task);
    const order = {
      source: source === null ? null : blobs.pathOf(source.sha256),
      target: blobs.pathOf(firmware.sha256),
      delta,
      maxBytes,
    };
    const made = await makeDelta(order, {
      signal,
      maxImageBytes: this.#options.deltaMaxImageBytes,
    });
    if (made !== null) await blobs.put(createReadStream(delta), made);
    await rm(delta, { force: true });
    await engine.write(async (tx) => {
      // Either image may have been deleted meanwhile.
      const { count } = await tx.db
        .selectFrom('firmware')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('firmware_id', '=', firmware.firmware_id)
        .where('sha256', '=', firmware.sha256)
        .executeTakeFirstOrThrow();
      if (Number(count) === 0) return;
      await tx.db
        .insertInto('firmware_deltas')
        .values(deltaRow(task, made, now()))
        .onConflict((c) => c.doNothing())
        .execute();
      if (made !== null) await plans.requestAll(tx);
    });
    log.info(
      {
        firmware: firmware.firmware_id,
        from: source?.version ?? null,
        sizeBytes: made?.sizeBytes ?? null,
        imageBytes: firmware.size_bytes,
        memoryBytes: made?.memoryBytes ?? null,
      },
      made === null ? 'a delta is not worth its bytes' : 'a delta was made',
    );
  }

  async #maxBytes({ firmware, source }: DeltaTask): Promise<number> {
    const { size_bytes, firmware_id } = firmware;
    if (source === null) return Math.floor(size_bytes * worthwhile.compressed);
    const compressed = await this.#deps.engine.read
      .selectFrom('firmware_deltas')
      .select('size_bytes')
      .where('firmware_id', '=', firmware_id)
      .where('from_sha256', '=', digestOfNothing)
      .where('format', '!=', '')
      .executeTakeFirst();
    return Math.floor((compressed?.size_bytes ?? size_bytes) * worthwhile.delta);
  }

  /** Files that were put aside as damaged, or are gone, are made again. */
  async #forgetLost(): Promise<void> {
    const { engine, blobs } = this.#deps;
    const rows = await engine.read
      .selectFrom('firmware_deltas')
      .selectAll()
      .where('format', '!=', '')
      .execute();
    for (const { firmware_id, from_sha256, sha256, size_bytes } of rows) {
      if ((await blobs.sizeOf(sha256)) === size_bytes) continue;
      await engine.write(async ({ db }) => {
        await db
          .deleteFrom('firmware_deltas')
          .where('firmware_id', '=', firmware_id)
          .where('from_sha256', '=', from_sha256)
          .execute();
      });
    }
  }
}

const keyOf = ({ firmware, source }: DeltaTask): string =>
  `${firmware.sha256} ${source?.sha256 ?? digestOfNothing}`;
