/** Which images are to be here: what campaigns need now, what the plan names besides, and what people pinned; in the order of their turn. */
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { ImageNote } from './image-notes.js';
import type { WantedImage } from './wanted-images.js';

export class ImageWants {
  readonly #notes: { all(): readonly ImageNote[] };
  #needed: readonly FirmwareBody[] = [];
  #foreseen: readonly WantedImage[] = [];
  /** How many failures there were when it last failed: whatever failed last has the last turn. */
  readonly #failedAt = new Map<string, number>();
  #failures = 0;
  #known: ReadonlyMap<string, WantedImage> | undefined;

  constructor(notes: { all(): readonly ImageNote[] }) {
    this.#notes = notes;
  }

  /** What running campaigns need, all of it. */
  need(firmware: readonly FirmwareBody[]): void {
    this.#needed = firmware;
    this.changed();
  }

  /** What the plan names, all of it. */
  foresee(images: readonly WantedImage[]): void {
    this.#foreseen = images;
    this.changed();
  }

  /** To be called when a note has changed. */
  changed(): void {
    this.#known = undefined;
  }

  get(sha256: string): WantedImage | undefined {
    return this.#all.get(sha256);
  }

  /** What is urgent first; of the others as of these, what has failed last at the end. */
  inTurn(): WantedImage[] {
    const turnOf = ({ isUrgent, body }: WantedImage): number =>
      (isUrgent ? 0 : Number.MAX_SAFE_INTEGER / 2) + (this.#failedAt.get(body.sha256) ?? 0);
    return [...this.#all.values()].sort((a, b) => turnOf(a) - turnOf(b));
  }

  /** One that cannot be had must not hold up the others. */
  failed(sha256: string): void {
    this.#failures += 1;
    this.#failedAt.set(sha256, this.#failures);
  }

  arrived(sha256: string): void {
    this.#failedAt.delete(sha256);
  }

  get #all(): ReadonlyMap<string, WantedImage> {
    if (this.#known !== undefined) return this.#known;
    const all = new Map(this.#foreseen.map((image) => [image.body.sha256, image]));
    for (const body of this.#needed) {
      const foreseen = all.get(body.sha256);
      all.set(body.sha256, {
        ...(foreseen ?? { body, campaigns: [], bytesPerS: null }),
        isUrgent: true,
      });
    }
    for (const { body, pin } of this.#notes.all()) {
      if (pin === null || all.has(body.sha256)) continue;
      all.set(body.sha256, { body, isUrgent: false, campaigns: [], bytesPerS: null });
    }
    this.#known = all;
    return all;
  }
}
