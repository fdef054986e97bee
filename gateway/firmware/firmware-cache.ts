/**
 * The firmware of the site: each image is fetched once over the WAN, whoever wants it, and kept under its digest. Nobody gets one that
 * was not verified since this start; what a running campaign needs is never evicted.
 */
import { readdir, rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import { download } from '@holdfast/provisioning/transfer/download';
import { type HeldImage, HeldImages } from './held-images.js';

export interface FirmwareCacheDeps {
  /** The control plane's HTTPS address, and an agent that verifies it and shows the gateway's certificate. */
  readonly source: { readonly address: string; readonly agent: Agent };
  readonly log: StoreLog;
  readonly now: () => number;
  readonly wait?: Wait;
}

export interface FirmwareCacheOptions {
  readonly folder: string;
  readonly quotaBytes: number;
  readonly idleTimeoutMs?: number;
  /** Bounds of the wait between attempts, ms. */
  readonly retryAfterMs?: { readonly first: number; readonly most: number };
}

export class FirmwareCache {
  readonly #deps: FirmwareCacheDeps;
  readonly #options: FirmwareCacheOptions;
  readonly #images: HeldImages;
  readonly #quarantine: string;
  readonly #listeners = new Set<(sha256: string) => void>();
  readonly #stop = new AbortController();
  #needed = new Map<string, FirmwareBody>();
  #fetching: Promise<void> | undefined;
  /** Ends the download or the wait under way. */
  #current: { readonly sha256: string; readonly end: AbortController } | undefined;
  #sleep: AbortController | undefined;
  #problem: string | undefined;

  constructor(deps: FirmwareCacheDeps, options: FirmwareCacheOptions) {
    this.#deps = deps;
    this.#options = options;
    const { folder } = options;
    this.#quarantine = join(folder, 'quarantine');
    this.#images = new HeldImages(
      {
        log: deps.log,
        now: deps.now,
        onDamaged: (sha256) => {
          this.#tell(sha256);
          this.retry();
        },
      },
      { folder, quarantine: this.#quarantine },
    );
  }

  /** Finds what is there, and looks through it meanwhile. Partial files stay for the download that goes on with them. */
  open(): Promise<void> {
    return this.#images.open();
  }

  /** Ends the download under way; its partial file stays. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new HoldfastError('STORE_UNAVAILABLE', 'the firmware cache is closing'));
    this.#current?.end.abort(this.#stop.signal.reason);
    this.#sleep?.abort();
    await this.#fetching;
    await this.#images.close();
  }

  /** One that is still to be looked through counts as held. */
  readonly isHeld = (sha256: string): boolean => this.#images.has(sha256);

  /** Whether a running campaign needs it: then it comes, if it is not here. */
  isNeeded(sha256: string): boolean {
    return this.#needed.has(sha256);
  }

  /** Why the firmware that is needed does not come, in words; undefined while it does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get bytes(): number {
    return this.#images.bytes;
  }

  /** What is needed from now on, all of it: fetched one after the other, and not evicted. */
  need(firmware: readonly FirmwareBody[]): void {
    this.#needed = new Map(firmware.map((body) => [body.sha256, body]));
    const { sha256, end } = this.#current ?? {};
    if (sha256 !== undefined && !this.#needed.has(sha256)) {
      end?.abort(new HoldfastError('RESOURCE_NOT_FOUND', 'nobody needs it any more'));
    }
    this.retry();
  }

  /** The WAN is there again: what waits for its next attempt makes it now. */
  retry(): void {
    this.#sleep?.abort();
    this.#fetching ??= this.#fetchAll().finally(() => {
      this.#fetching = undefined;
      // Something may have come to be needed just as the last look was over.
      if (this.#missing !== undefined && !this.#stop.signal.aborted) this.retry();
    });
  }

  /** Told when an image came or was lost. Returns how to stop it. */
  onChange(listener: (sha256: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** An image to serve; undefined when it is not here. STORE_UNAVAILABLE when it cannot be read now. */
  get(sha256: string): Promise<HeldImage | undefined> {
    return this.#images.get(sha256);
  }

  /** An image could not be read as it should: if it is damaged, it is put aside, and fetched again when it is needed. */
  check(sha256: string): Promise<void> {
    return this.#images.check(sha256);
  }

  get #missing(): FirmwareBody | undefined {
    for (const [sha256, body] of this.#needed) if (!this.#images.has(sha256)) return body;
    return undefined;
  }

  async #fetchAll(): Promise<void> {
    const { retryAfterMs: { first: firstMs, most: mostMs } = { first: 1_000, most: 60_000 } } =
      this.#options;
    let delays = backoff({ firstMs, mostMs });
    for (let next = this.#missing; next !== undefined; next = this.#missing) {
      if (this.#stop.signal.aborted) return;
      try {
        await this.#fetch(next);
        delays = backoff({ firstMs, mostMs });
        this.#problem = undefined;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (!this.#needed.has(next.sha256)) continue;
        this.#problem = messageOf(error);
        const isBad = isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH');
        this.#deps.log[isBad ? 'error' : 'warn'](
          { sha256: next.sha256, reason: messageOf(error) },
          'a firmware image could not be fetched; it is tried again',
        );
        // The next one first: one that cannot be had must not hold up the others.
        this.#needed.delete(next.sha256);
        this.#needed.set(next.sha256, next);
        // What is wrong at the source does not become right within seconds.
        await this.#sleepFor(isBad ? mostMs : (delays.next().value ?? mostMs));
      }
    }
  }

  async #fetch(firmware: FirmwareBody): Promise<void> {
    const { sha256, size_bytes: sizeBytes, path: sourcePath } = firmware;
    await this.#makeRoom(sizeBytes);
    const { source } = this.#deps;
    const { idleTimeoutMs } = this.#options;
    const end = new AbortController();
    this.#current = { sha256, end };
    try {
      await download({
        url: new URL(sourcePath, source.address).href,
        agent: source.agent,
        path: this.#images.pathOf(sha256),
        sha256,
        sizeBytes,
        quarantine: this.#quarantine,
        ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
        // It may have been closed while room was made.
        signal: AbortSignal.any([end.signal, this.#stop.signal]),
      });
    } finally {
      this.#current = undefined;
    }
    this.#images.add(sha256, sizeBytes);
    this.#deps.log.info({ sha256, sizeBytes }, 'a firmware image is here and verified');
    this.#tell(sha256);
  }

  /** Evicts the least recently used of what nobody needs. */
  async #makeRoom(bytes: number): Promise<void> {
    const { quotaBytes } = this.#options;
    const evictable = this.#images.byUse().filter(({ sha256 }) => !this.#needed.has(sha256));
    for (const { sha256 } of evictable) {
      if (this.bytes + bytes <= quotaBytes) break;
      await this.#images.remove(sha256);
      this.#tell(sha256);
    }
    await this.#removeStalePartials();
    if (this.bytes + bytes > quotaBytes) {
      throw new HoldfastError(
        'STORE_FULL',
        `the firmware cache has no room: ${bytes} bytes are needed, ${Math.max(0, quotaBytes - this.bytes)} of ${quotaBytes} are free of what campaigns need`,
      );
    }
  }

  async #removeStalePartials(): Promise<void> {
    const { folder } = this.#options;
    for (const name of await readdir(folder)) {
      const sha256 = name.replace(/\.part$/, '');
      if (name.endsWith('.part') && !this.#needed.has(sha256))
        await rm(join(folder, name), { force: true });
    }
  }

  #tell(sha256: string): void {
    for (const listener of this.#listeners) listener(sha256);
  }

  async #sleepFor(ms: number): Promise<void> {
    this.#sleep = new AbortController();
    try {
      await (this.#deps.wait ?? wait)(ms, this.#sleep.signal);
    } catch {
      // Woken: there is news.
    }
    this.#sleep = undefined;
  }
}
