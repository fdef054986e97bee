/**
 * Makes deltas of images that the site holds, where the plan has none: one after the other, in a process of its own at a low priority. They
 * are for the site's own devices, and as dispensable as everything else in the cache that nobody needs.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { makeDelta } from '@holdfast/provisioning/delta/make-delta';
import type { StoreLog } from '@holdfast/provisioning/storage/store';

import type { FirmwareCache } from './firmware-cache.js';
import type { ImageNotes } from './image-notes.js';
import { firmwarePath } from './signed-url.js';

export interface SiteDeltasDeps {
  readonly cache: Pick<FirmwareCache, 'adopt' | 'get' | 'onChange' | 'rows'>;
  readonly notes: Pick<ImageNotes, 'get'>;
  readonly log: StoreLog;
}

export interface SiteDeltasOptions {
  /** Where they are made, on the file system of the cache; emptied at the start. */
  readonly folder: string;
  /** What bounds the memory. */
  readonly maxImageBytes?: number;
  /** Brotli's: a gateway is no build server. */
  readonly quality?: number;
}

interface Pair {
  readonly image: FirmwareBody;
  readonly source: FirmwareBody;
}

/** Of one image: what devices run besides the version before the last is rare. */
const mostSources = 2;
/** What is no smaller than this part of the image is not worth being told. */
const worthwhile = 0.5;

export class SiteDeltas {
  readonly #deps: SiteDeltasDeps;
  readonly #options: Required<SiteDeltasOptions>;
  readonly #closing = new AbortController();
  /** Tried since the start, whatever came of it. */
  readonly #tried = new Set<string>();
  #stop: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;

  constructor(deps: SiteDeltasDeps, options: SiteDeltasOptions) {
    this.#deps = deps;
    this.#options = { maxImageBytes: 64 * 1024 * 1024, quality: 9, ...options };
  }

  async open(): Promise<void> {
    const { folder } = this.#options;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#stop = this.#deps.cache.onChange(() => void this.run());
    void this.run();
  }

  /** Resolves when everything is made; never rejects. */
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
    this.#stop?.();
    this.#closing.abort(new Error('the gateway is closing'));
    await this.#running;
  }

  async #runAll(): Promise<void> {
    while (this.#isAskedAgain && !this.#closing.signal.aborted) {
      this.#isAskedAgain = false;
      for (const pair of await this.#pairsOrNone()) {
        if (this.#closing.signal.aborted) return;
        this.#tried.add(keyOf(pair));
        try {
          await this.#make(pair);
        } catch (error) {
          if (this.#closing.signal.aborted) return;
          this.#deps.log.warn(
            { version: pair.image.version, from: pair.source.version, reason: messageOf(error) },
            'a delta could not be made; devices get the whole image',
          );
        }
      }
    }
  }

  async #pairsOrNone(): Promise<Pair[]> {
    try {
      return await this.#pairs();
    } catch (error) {
      this.#deps.log.warn({ reason: messageOf(error) }, 'what deltas can be made of is not known');
      return [];
    }
  }

  /** Of every image that a campaign installs, the other ones of its model, where neither the plan nor the site has a delta. */
  async #pairs(): Promise<Pair[]> {
    const { cache, notes } = this.#deps;
    const held = (await cache.rows()).filter(
      (row) => row.state === 'held' && row.deltaFrom === null,
    );
    const known = held.flatMap((row) => {
      const body = notes.get(row.sha256)?.body;
      return body === undefined ? [] : [{ body, isWanted: row.campaigns.length > 0 }];
    });
    return known
      .filter(({ isWanted }) => isWanted)
      .flatMap(({ body: image }) =>
        known
          .map(({ body }) => ({ image, source: body }))
          .filter(({ source }) => source.model === image.model && source.sha256 !== image.sha256)
          .slice(0, mostSources),
      )
      .filter(
        (pair) =>
          !this.#tried.has(keyOf(pair)) &&
          !pair.image.deltas?.some(({ from_sha256 }) => from_sha256 === pair.source.sha256),
      );
  }

  async #make({ image, source }: Pair): Promise<void> {
    const { cache, log } = this.#deps;
    const { folder, maxImageBytes, quality } = this.#options;
    const [before, after] = [await cache.get(source.sha256), await cache.get(image.sha256)];
    if (before === undefined || after === undefined) return;
    const path = join(folder, 'delta');
    const maxBytes = Math.floor(image.size_bytes * worthwhile);
    const made = await makeDelta(
      { source: before.path, target: after.path, delta: path, maxBytes, quality },
      { signal: this.#closing.signal, maxImageBytes },
    );
    if (made === null) return;
    const delta = {
      ...{ from_sha256: source.sha256, from_version: source.version, format: made.format },
      ...{ sha256: made.sha256, size_bytes: made.sizeBytes, path: firmwarePath(made.sha256) },
    };
    const isTaken = await cache.adopt(image.sha256, delta, path);
    await rm(path, { force: true });
    if (!isTaken) return;
    log.info(
      { version: image.version, from: source.version, sizeBytes: made.sizeBytes },
      'a delta was made of two images of this site',
    );
  }
}

const keyOf = ({ image, source }: Pair): string => `${source.sha256} ${image.sha256}`;
