/**
 * The firmware of the site: each image is fetched once over the WAN, whoever wants it, and kept under its digest. Nobody gets one that
 * was not verified since this start; what a running campaign needs, or somebody has pinned, is never evicted.
 */
import { rename } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody, FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import { ByteBudget } from '@holdfast/provisioning/transfer/byte-budget';
import type { Closed, SiteWindows } from '../updates/site-windows.js';
import { CacheRoom } from './cache-room.js';
import { type CacheRow, cacheRows } from './cache-rows.js';
import { type HeldImage, HeldImages } from './held-images.js';
import { ImageFetch } from './image-fetch.js';
import type { ImageNote, ImageNotes, Pin } from './image-notes.js';
import { ImageWants } from './image-wants.js';
import { usableDeltas } from './rebuild-image.js';
import type { WantedImage } from './wanted-images.js';

export interface FirmwareCacheDeps {
  /** The control plane's HTTPS address, and an agent that verifies it and shows the gateway's certificate. */
  readonly source: { readonly address: string; readonly agent: Agent };
  readonly log: StoreLog;
  readonly now: () => number;
  /** Milliseconds that never run back. */
  readonly monotonic?: () => number;
  readonly wait?: Wait;
  /** Without them nothing can be pinned. */
  readonly notes?: ImageNotes;
  /** Whether something of the site itself may need it, whatever the plan says: it is not evicted. */
  readonly isKept?: (sha256: string) => boolean;
  /** When firmware may be fetched; without them at any time. */
  readonly windows?: Pick<SiteWindows, 'closed'>;
}

export interface FirmwareCacheOptions {
  readonly folder: string;
  readonly quotaBytes: number;
  /** What all of it together may have of the WAN; null, or without it: all. */
  readonly wanBytesPerS?: () => number | null;
  readonly idleTimeoutMs?: number;
  /** Bounds of the wait between attempts, ms. */
  readonly retryAfterMs?: { readonly first: number; readonly most: number };
}

/** What is fetched now. */
interface Current {
  readonly image: WantedImage;
  readonly end: AbortController;
  /** Something else is more urgent, or its window has closed: no failure. */
  isSetAside: boolean;
}

/** What an update document has room for. */
const mostDeltasTold = 16;

const lookAtWindowsMs = 30_000;

export class FirmwareCache {
  readonly #deps: FirmwareCacheDeps;
  readonly #options: FirmwareCacheOptions;
  readonly #images: HeldImages;
  readonly #wants: ImageWants;
  readonly #room: CacheRoom;
  readonly #fetch: ImageFetch;
  readonly #budget: ByteBudget;
  readonly #listeners = new Set<(sha256: string) => void>();
  readonly #stop = new AbortController();
  #fetching: Promise<void> | undefined;
  #current: Current | undefined;
  #sleep: AbortController | undefined;
  #problem: string | undefined;

  constructor(deps: FirmwareCacheDeps, options: FirmwareCacheOptions) {
    this.#deps = deps;
    this.#options = options;
    const { folder, quotaBytes } = options;
    const quarantine = `${folder}/quarantine`;
    this.#images = new HeldImages(
      {
        log: deps.log,
        now: deps.now,
        onDamaged: (sha256) => {
          this.#tell(sha256);
          this.retry();
        },
      },
      { folder, quarantine },
    );
    this.#wants = new ImageWants(deps.notes ?? { all: () => [] });
    this.#room = new CacheRoom(
      {
        images: this.#images,
        wants: this.#wants,
        isPinned: (sha256) => this.#pinOf(sha256) !== null || deps.isKept?.(sha256) === true,
        onEvicted: (sha256) => {
          this.#tell(sha256);
          this.#deps.notes?.forget(sha256).catch((err: unknown) => this.#noteFailed(err));
        },
      },
      { folder, quotaBytes },
    );
    this.#fetch = new ImageFetch(
      {
        source: deps.source,
        images: this.#images,
        room: this.#room,
        log: deps.log,
        pace: (bytes, signal) => this.#pace(bytes, signal),
        onArrived: (sha256) => this.#tell(sha256),
      },
      { quarantine, idleTimeoutMs: options.idleTimeoutMs },
    );
    this.#budget = new ByteBudget(
      {
        monotonic: deps.monotonic ?? (() => performance.now()),
        ...(deps.wait && { wait: deps.wait }),
      },
      { bytesPerS: () => this.bytesPerS },
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

  /** Whether a campaign of the plan needs it, or somebody has pinned it: then it comes, if it is not here. */
  isNeeded(sha256: string): boolean {
    return this.#wants.get(sha256) !== undefined;
  }

  /** Why the firmware that is needed does not come, in words; undefined while it does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get bytes(): number {
    return this.#images.bytes;
  }

  get quotaBytes(): number {
    return this.#options.quotaBytes;
  }

  /** What the fetch under way may have of the WAN: the smallest of all limits. Null: all of it. */
  get bytesPerS(): number | null {
    const site = this.#options.wanBytesPerS?.() ?? null;
    const { sha256 = '' } = this.#current?.image.body ?? {};
    const campaigns = this.#wants.get(sha256)?.bytesPerS ?? null;
    return site === null || campaigns === null ? (site ?? campaigns) : Math.min(site, campaigns);
  }

  /** What running campaigns need from now on, all of it: fetched one after the other, and not evicted. */
  need(firmware: readonly FirmwareBody[]): void {
    this.#wants.need(firmware);
    this.#review();
  }

  /** What the plan names from now on, all of it: fetched when nothing urgent is, so that it is here when its campaign begins. */
  foresee(images: readonly WantedImage[]): void {
    this.#wants.foresee(images);
    this.#review();
  }

  /** The WAN is there again: what waits for its next attempt makes it now. */
  retry(): void {
    this.#sleep?.abort();
    this.#fetching ??= this.#fetchAll().finally(() => {
      this.#fetching = undefined;
      // Something may have come to be needed just as the last look was over.
      if (this.#missing.length > 0 && !this.#stop.signal.aborted) this.retry();
    });
  }

  /** Told when an image came or was lost. Returns how to stop it. */
  onChange(listener: (sha256: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The deltas of an image that devices can have here, smallest first. */
  deltasOf(sha256: string): FirmwareDelta[] {
    const noted = this.#deps.notes?.get(sha256)?.body;
    const body = this.#wants.get(sha256)?.body ?? noted;
    if (body === undefined) return [];
    // Those that were made here stand in the notes alone.
    const byFile = new Map(
      [...(noted?.deltas ?? []), ...(body.deltas ?? [])].map((delta) => [delta.sha256, delta]),
    );
    return usableDeltas({ ...body, deltas: [...byFile.values()] }, () => true)
      .filter((delta) => this.#images.has(delta.sha256))
      .slice(0, mostDeltasTold);
  }

  /**
   * Takes in a delta that was made here of two images that are held, from a file beside them. False: the image is wanted no more, or there
   * is no room.
   */
  async adopt(sha256: string, delta: FirmwareDelta, path: string): Promise<boolean> {
    const image = this.#wants.get(sha256);
    const { notes } = this.#deps;
    if (image === undefined || notes === undefined || !this.#images.has(sha256)) return false;
    try {
      await this.#room.make(delta.size_bytes, image, [sha256, delta.from_sha256]);
    } catch (error) {
      if (isHoldfastError(error, 'STORE_FULL')) return false;
      throw error;
    }
    const body = notes.get(sha256)?.body ?? image.body;
    await rename(path, this.#images.pathOf(delta.sha256));
    this.#images.add(delta.sha256, delta.size_bytes);
    await notes.remember({ ...body, deltas: [...(body.deltas ?? []), delta] });
    this.#tell(delta.sha256);
    return true;
  }

  /** An image to serve; undefined when it is not here. STORE_UNAVAILABLE when it cannot be read now. */
  get(sha256: string): Promise<HeldImage | undefined> {
    return this.#images.get(sha256);
  }

  /** An image could not be read as it should: if it is damaged, it is put aside, and fetched again when it is needed. */
  check(sha256: string): Promise<void> {
    return this.#images.check(sha256);
  }

  /** All that is here or is to be. */
  rows(): Promise<CacheRow[]> {
    return cacheRows({
      images: this.#images,
      wants: this.#wants,
      notes: this.#deps.notes,
      fetching: this.#current?.image.body.sha256,
      waitsFor: (image) => this.#closed(image)?.reason,
    });
  }

  /**
   * Keeps an image, and fetches it if it is not here, until it is unpinned; null unpins it. `name` is `{model}@{version}` or the beginning
   * of its digest. RESOURCE_NOT_FOUND; STORE_FULL when the pinned ones would fill the cache.
   */
  async pin(name: string, pin: Pin | null): Promise<FirmwareBody> {
    const { notes } = this.#deps;
    const body = this.find(name);
    if (body === undefined || notes === undefined) {
      throw new HoldfastError(
        'RESOURCE_NOT_FOUND',
        `neither the plan nor the cache has firmware ${name}`,
        { data: { next: 'holdfast --gateway firmware list' } },
      );
    }
    const others = notes
      .all()
      .filter((note) => note.pin !== null && note.body.sha256 !== body.sha256);
    const bytes = others.reduce((all, note) => all + note.body.size_bytes, body.size_bytes);
    if (pin !== null && bytes > this.quotaBytes) {
      throw new HoldfastError(
        'STORE_FULL',
        `${bytes} bytes would be pinned, and the cache has ${this.quotaBytes}: unpin another first`,
      );
    }
    if (pin === null && !this.#images.has(body.sha256)) await notes.forget(body.sha256);
    else await notes.pin(body, pin);
    this.#wants.changed();
    this.#review();
    return body;
  }

  /** An image of the plan or of the notes: `{model}@{version}` or the beginning of its digest. */
  find(name: string): FirmwareBody | undefined {
    const known = [
      ...this.#wants.inTurn().map(({ body }) => body),
      ...(this.#deps.notes?.all() ?? []).map(({ body }: ImageNote) => body),
    ];
    return known.find(
      ({ model, version, sha256 }) =>
        `${model}@${version}` === name || (name.length >= 8 && sha256.startsWith(name)),
    );
  }

  #pinOf(sha256: string): Pin | null {
    return this.#deps.notes?.get(sha256)?.pin ?? null;
  }

  get #missing(): WantedImage[] {
    return this.#wants.inTurn().filter(({ body }) => !this.#images.has(body.sha256));
  }

  #closed({ body }: WantedImage): Closed | undefined {
    return this.#deps.windows?.closed('fetch', { device: '', model: body.model });
  }

  /** After what is wanted has changed: the download under way may be one that has time, or that nobody needs. */
  #review(): void {
    const current = this.#current;
    if (current !== undefined) {
      const wanted = this.#wants.get(current.image.body.sha256);
      const next = this.#missing.find((image) => this.#closed(image) === undefined);
      if (wanted === undefined) {
        current.end.abort(new HoldfastError('RESOURCE_NOT_FOUND', 'nobody needs it any more'));
      } else if (next?.isUrgent === true && !wanted.isUrgent) this.#setAside(current);
    }
    this.retry();
  }

  #setAside(current: Current): void {
    current.isSetAside = true;
    current.end.abort(new HoldfastError('DEADLINE_EXCEEDED', 'it has to wait'));
  }

  async #pace(bytes: number, signal: AbortSignal): Promise<void> {
    const current = this.#current;
    if (current !== undefined && this.#closed(current.image) !== undefined) this.#setAside(current);
    signal.throwIfAborted();
    await this.#budget.take(bytes, signal);
  }

  async #fetchAll(): Promise<void> {
    const { retryAfterMs: { first: firstMs, most: mostMs } = { first: 1_000, most: 60_000 } } =
      this.#options;
    let delays = backoff({ firstMs, mostMs });
    for (let missing = this.#missing; missing.length > 0; missing = this.#missing) {
      if (this.#stop.signal.aborted) return;
      const image = missing.find((one) => this.#closed(one) === undefined);
      if (image === undefined) {
        await this.#sleepFor(lookAtWindowsMs);
        continue;
      }
      const { sha256 } = image.body;
      const current = { image, end: new AbortController(), isSetAside: false };
      this.#current = current;
      try {
        await this.#fetch.fetch(image, AbortSignal.any([current.end.signal, this.#stop.signal]));
        this.#current = undefined;
        await this.#arrived(image.body);
        delays = backoff({ firstMs, mostMs });
        this.#problem = undefined;
      } catch (error) {
        this.#current = undefined;
        if (this.#stop.signal.aborted) return;
        if (current.isSetAside || this.#wants.get(sha256) === undefined) continue;
        this.#problem = messageOf(error);
        const isBad = isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH');
        this.#deps.log[isBad ? 'error' : 'warn'](
          { sha256, reason: messageOf(error) },
          'a firmware image could not be fetched; it is tried again',
        );
        this.#wants.failed(sha256);
        // What is wrong at the source does not become right within seconds.
        await this.#sleepFor(isBad ? mostMs : (delays.next().value ?? mostMs));
      }
    }
  }

  async #arrived(body: FirmwareBody): Promise<void> {
    const { sha256, size_bytes: sizeBytes } = body;
    this.#wants.arrived(sha256);
    this.#deps.log.info({ sha256, sizeBytes }, 'a firmware image is here and verified');
    // Whoever is told may want to know what it is.
    await this.#deps.notes?.remember(body).catch((err: unknown) => this.#noteFailed(err));
    this.#tell(sha256);
  }

  #noteFailed(err: unknown): void {
    this.#deps.log.warn({ err }, 'what a firmware image is could not be noted');
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
