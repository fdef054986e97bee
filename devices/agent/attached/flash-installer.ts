/**
 * The installer `flash`: a release goes through the boot loader into the microcontroller behind this agent, and its next hello, after our
 * reset, is the proof. There is no slot and no restart of this machine.
 *
 * Before the first byte nothing is committed to; from then on there is only forward or back. A flash that was cut, by whichever end, is
 * taken up again without waiting for a hello that may never come: what stands there is compared, the rest is written. An application that
 * stays mute gives way to the image that ran before.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type FlashImage, prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { Part } from '@holdfast/provisioning/firmware/flash/part';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import { flash } from '../../serial/flash/flash.js';
import { gatedLoader } from '../../serial/flash/gated-loader.js';
import type { FlashProgress, LoaderProtocol } from '../../serial/flash/loader-protocol.js';
import type { Reset } from '../../serial/flash/resets.js';
import type { Log } from '../log.js';
import type { Installer, TellUpdate } from '../update/installer.js';
import {
  type InstalledApp,
  type Installing,
  otherSlot,
  type Release,
  type Slot,
  type Trial,
  type Undoing,
  type UpdateJob,
} from '../update/update-state.js';
import type { InstallContext } from '../update/updater.js';
import type { AttachedDevice } from './attached-device.js';
import type { AttachedPresence } from './attached-presence.js';

export interface FlashInstallerDeps {
  readonly board: Pick<AttachedDevice, 'takeOver'> & {
    readonly presence: Pick<AttachedPresence, 'bootId' | 'awaitHello'>;
  };
  /** The image that what is in this slot was made of; undefined when it is not kept. */
  readonly imageOf: (slot: Slot | null) => Promise<string | undefined>;
  readonly tell: TellUpdate;
  readonly log: Log;
}

export interface FlashInstallerOptions {
  readonly loader: LoaderProtocol;
  readonly part: Part;
  /** Of the boot loader. */
  readonly baudRate: number;
  readonly reset: Reset;
  /** From the start of an application until it has to have said hello. */
  readonly deadlineMs: number;
  readonly maxStarts: number;
  readonly firstRetryMs?: number;
}

/** Knocks at a boot loader before anything was written. */
const firstKnocks = 5;
/** Of writing an image that does not read back as it was written, or into a board that says it is another. */
const mostWrites = 3;
const complainEveryMs = 60_000;
const step = 'flash';

export class FlashInstaller implements Installer {
  readonly name = 'flash';
  readonly #deps: FlashInstallerDeps;
  readonly #options: FlashInstallerOptions;
  #trial: AbortController | null = null;

  constructor(deps: FlashInstallerDeps, options: FlashInstallerOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async inspect(path: string, { version }: UpdateJob, { part }: Release): Promise<void> {
    const ours = this.#options.part.name;
    if (part?.toLowerCase() !== ours.toLowerCase()) {
      const message = `It is made for ${part ?? 'no part'}, on this line is an ${ours}`;
      throw new HoldfastError('FLASH_PART_MISMATCH', message);
    }
    await this.#read(path, version);
  }

  async install(
    path: string,
    slot: Slot,
    { job, steps, since: before }: Installing,
    context: InstallContext,
  ): Promise<Trial> {
    // As it was before the first byte: the new application may have been there already when this process ended.
    const since = before ?? (await this.bootId());
    const image = await this.#read(path, job.version);
    // Used from now on, so that it is not forgotten for the one that takes its place.
    await this.#deps.imageOf(otherSlot(slot));
    await this.#write(image, {
      reason: `flashing ${job.version}`,
      signal: context.signal,
      onProgress: context.onProgress,
      // What was begun is not cut short for a board that does not answer: it has nothing else to say.
      begin: steps.length > 0 ? null : () => context.step(step, async () => undefined),
    });
    context.onProgress(100);
    const { deadlineMs, maxStarts } = this.#options;
    return { deadlineMs, maxStarts, since };
  }

  /** Flashes what ran before, and waits for it to say so. */
  async undo(_: string, { previous }: Undoing, signal: AbortSignal): Promise<void> {
    const path = await this.#deps.imageOf(previous);
    if (path === undefined) {
      const message = 'the image that ran before is not kept here; another release can be flashed';
      throw new HoldfastError('UPDATE_INSTALL_FAILED', message);
    }
    const image = await this.#read(path);
    await this.#write(image, { reason: 'flashing what ran before', signal, begin: null });
    const deadline = AbortSignal.timeout(this.#options.deadlineMs);
    try {
      await this.#deps.board.presence.awaitHello(AbortSignal.any([signal, deadline]));
    } catch {
      signal.throwIfAborted();
      const message = 'what ran before was flashed, and says no hello either';
      throw new HoldfastError('UPDATE_INSTALL_FAILED', message);
    }
  }

  /** The run of the microcontroller, by its last hello. */
  async bootId(): Promise<string> {
    return this.#deps.board.presence.bootId;
  }

  async restart(): Promise<void> {
    // What was flashed back has said hello by then.
  }

  async run(slot: Slot, { version }: InstalledApp, trial: Trial | null): Promise<void> {
    await this.stop();
    if (trial === null) return;
    const abort = new AbortController();
    this.#trial = abort;
    void this.#watch(slot, version, trial, abort.signal);
  }

  async stop(): Promise<void> {
    this.#trial?.abort();
    this.#trial = null;
  }

  close(): Promise<void> {
    return this.stop();
  }

  async #watch(
    slot: Slot,
    version: string,
    { deadlineMs }: Trial,
    signal: AbortSignal,
  ): Promise<void> {
    const { board, tell } = this.#deps;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
    try {
      // Since the line was lent out the board is away, so whatever it says is said after our reset.
      const hello = await board.presence.awaitHello(deadline);
      if (signal.aborted) return;
      if (hello.version !== version) {
        tell({ type: 'exited', slot, error: `it says that it runs ${hello.version}` });
        return;
      }
      tell({ type: 'launched', slot });
      tell({ type: 'healthy', slot });
    } catch {
      if (!signal.aborted) tell({ type: 'overdue', slot });
    }
  }

  async #read(path: string, version?: string): Promise<FlashImage> {
    const file = await readFile(path);
    // It is named for its digest, and may have waited for days since that was looked at.
    if (createHash('sha256').update(file).digest('hex') !== basename(path)) {
      throw new HoldfastError('UPDATE_DIGEST_MISMATCH', 'The image has changed on the disk');
    }
    const release = version === undefined ? undefined : { version };
    return prepareImage(file, this.#options.part, release);
  }

  /** Over every break of the line: a board is left with a whole image, or the work was ended from outside. */
  async #write(image: FlashImage, write: Write): Promise<void> {
    const { log } = this.#deps;
    let hasBegun = write.begin === null;
    let refusals = 0;
    let complainedAt = Number.NEGATIVE_INFINITY;
    const begin = async (): Promise<void> => {
      if (!hasBegun) await write.begin?.();
      hasBegun = true;
    };
    for (const delayMs of backoff({ firstMs: this.#options.firstRetryMs ?? 500, mostMs: 15_000 })) {
      try {
        await this.#flashOnce(image, { ...write, begin }, hasBegun ? Infinity : firstKnocks);
        return;
      } catch (error) {
        write.signal.throwIfAborted();
        if (isAny(error, ofBoard)) refusals += 1;
        if (!isWorthAnother(error, hasBegun) || refusals >= mostWrites) throw error;
        if (performance.now() - complainedAt > complainEveryMs) {
          complainedAt = performance.now();
          log.warn({ error: messageOf(error) }, `${write.reason}: it is tried again`);
        }
      }
      await wait(delayMs, write.signal);
    }
  }

  #flashOnce(
    image: FlashImage,
    { reason, signal, onProgress, begin }: Write & { readonly begin: () => Promise<void> },
    attempts: number,
  ): Promise<unknown> {
    const { loader, part, baudRate, reset } = this.#options;
    return this.#deps.board.takeOver(
      (port, ended, show) =>
        flash(
          { port, reset },
          { loader: gatedLoader(loader, begin), part, baudRate, image },
          {
            signal: ended,
            attempts,
            onProgress: (progress) => {
              show(progress);
              onProgress?.(percentOf(progress));
            },
          },
        ),
      { reason, signal },
    );
  }
}

interface Write {
  readonly reason: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (percent: number) => void;
  /** To be committed before the first byte is written; null when it was. */
  readonly begin: (() => Promise<void>) | null;
}

const isAny = (error: unknown, codes: readonly ErrorCode[]): boolean =>
  codes.some((code) => isHoldfastError(error, code));

const ofLine = ['SERIAL_LINE_DOWN', 'SERIAL_LINE_BUSY'] as const;
/** What comes and goes, and is in the way of a board that is half written as long as it lasts. */
const passing = ['FLASH_NO_BOOT_LOADER', 'GPIO_UNAVAILABLE'] as const;
/** One garbled answer is enough for it, of a loader whose words have no checksum. */
const ofBoard = [
  'FLASH_VERIFY_FAILED',
  'FLASH_PART_MISMATCH',
  'FLASH_IMAGE_TOO_LARGE',
  'SERIAL_SETTINGS_REFUSED',
] as const;

const isWorthAnother = (error: unknown, hasBegun: boolean): boolean =>
  isAny(error, ofLine) || (hasBegun && (isAny(error, passing) || isAny(error, ofBoard)));

/** Of the whole: reading is quick beside writing. */
const shares: Partial<Record<FlashProgress['stage'], readonly [number, number]>> = {
  compare: [0, 5],
  write: [5, 90],
  verify: [90, 100],
};

const percentOf = ({ stage, doneBytes, totalBytes }: FlashProgress): number => {
  const [from, to] = shares[stage] ?? [0, 0];
  return totalBytes === 0 ? from : from + ((to - from) * doneBytes) / totalBytes;
};
