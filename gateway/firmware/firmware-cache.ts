/**
 * The firmware of the site: each image is fetched once over the WAN, whoever wants it, and kept under its digest. Nobody gets one that
 * was not verified; what a running campaign needs is never evicted.
 */
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import { download } from '@holdfast/provisioning/transfer/download';

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

export interface HeldFirmware {
  readonly sha256: string;
  readonly path: string;
  readonly sizeBytes: number;
}

interface Held extends HeldFirmware {
  usedAt: number;
  writtenUsedAt: number;
}

/** How far the time of last use on disk may be behind, ms. */
const usedAtEveryMs = 3_600_000;
const digest = /^[0-9a-f]{64}$/;

export class FirmwareCache {
  readonly #deps: FirmwareCacheDeps;
  readonly #options: FirmwareCacheOptions;
  readonly #held = new Map<string, Held>();
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
  }

  /** Finds what is there. Partial files stay for the download that goes on with them. */
  async open(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true });
    for (const name of await readdir(folder)) {
      if (!digest.test(name)) continue;
      const path = join(folder, name);
      const { size, mtimeMs } = await stat(path);
      this.#held.set(name, {
        sha256: name,
        path,
        sizeBytes: size,
        usedAt: mtimeMs,
        writtenUsedAt: mtimeMs,
      });
    }
  }

  /** Ends the download under way; its partial file stays. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new HoldfastError('STORE_UNAVAILABLE', 'the firmware cache is closing'));
    this.#current?.end.abort(this.#stop.signal.reason);
    this.#sleep?.abort();
    await this.#fetching;
  }

  readonly isHeld = (sha256: string): boolean => this.#held.has(sha256);

  /** Whether a running campaign needs it: then it comes, if it is not here. */
  isNeeded(sha256: string): boolean {
    return this.#needed.has(sha256);
  }

  /** Why the firmware that is needed does not come, in words; undefined while it does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { sizeBytes } of this.#held.values()) bytes += sizeBytes;
    return bytes;
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

  /** An image to serve; undefined when it is not here. */
  get(sha256: string): HeldFirmware | undefined {
    const held = this.#held.get(sha256);
    if (held === undefined) return undefined;
    held.usedAt = this.#deps.now();
    if (held.usedAt - held.writtenUsedAt > usedAtEveryMs) {
      held.writtenUsedAt = held.usedAt;
      // Only the order of eviction after a restart is lost with it.
      utimes(held.path, held.usedAt / 1_000, held.usedAt / 1_000).catch(() => undefined);
    }
    return held;
  }

  /** An image turned out damaged on disk: it is removed, and fetched again when it is needed. */
  async drop(sha256: string): Promise<void> {
    if (!(await this.#remove(sha256))) return;
    this.#deps.log.error({ sha256 }, 'a firmware image was damaged on disk and is removed');
    this.#tell(sha256);
    this.retry();
  }

  get #missing(): FirmwareBody | undefined {
    for (const [sha256, body] of this.#needed) if (!this.#held.has(sha256)) return body;
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
    const { folder, idleTimeoutMs } = this.#options;
    const path = join(folder, sha256);
    const end = new AbortController();
    this.#current = { sha256, end };
    try {
      await download({
        url: new URL(sourcePath, source.address).href,
        agent: source.agent,
        path,
        sha256,
        sizeBytes,
        quarantine: join(folder, 'quarantine'),
        ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
        signal: end.signal,
      });
    } finally {
      this.#current = undefined;
    }
    const now = this.#deps.now();
    this.#held.set(sha256, { sha256, path, sizeBytes, usedAt: now, writtenUsedAt: now });
    this.#deps.log.info({ sha256, sizeBytes }, 'a firmware image is here and verified');
    this.#tell(sha256);
  }

  /** Evicts the least recently used of what nobody needs. */
  async #makeRoom(bytes: number): Promise<void> {
    const { quotaBytes } = this.#options;
    const evictable = [...this.#held.values()]
      .filter(({ sha256 }) => !this.#needed.has(sha256))
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const { sha256 } of evictable) {
      if (this.bytes + bytes <= quotaBytes) break;
      await this.#remove(sha256);
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

  async #remove(sha256: string): Promise<boolean> {
    const held = this.#held.get(sha256);
    if (held === undefined) return false;
    this.#held.delete(sha256);
    await rm(held.path, { force: true });
    return true;
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
