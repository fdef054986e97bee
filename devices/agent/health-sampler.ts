/** Measures again and again, never two measurements at once. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { HealthReading } from './health.js';
import type { Log } from './log.js';

export interface HealthSamplerDeps {
  readonly log: Log;
  readonly read: () => Promise<HealthReading>;
  readonly take: (reading: HealthReading) => void;
}

export class HealthSampler {
  readonly #deps: HealthSamplerDeps;
  #intervalMs = 30_000;
  #timer: NodeJS.Timeout | null = null;
  #isOpen = false;
  #isReading = false;

  constructor(deps: HealthSamplerDeps) {
    this.#deps = deps;
  }

  open(): void {
    this.#isOpen = true;
    this.#begin();
  }

  close(): void {
    this.#isOpen = false;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  setInterval(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return;
    this.#intervalMs = intervalMs;
    if (this.#isOpen) this.#begin();
  }

  #begin(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#sample(), this.#intervalMs);
    void this.#sample();
  }

  async #sample(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const reading = await this.#deps.read();
      if (this.#isOpen) this.#deps.take(reading);
    } catch (error) {
      this.#deps.log.warn({ error: messageOf(error) }, 'it cannot be measured');
    } finally {
      this.#isReading = false;
    }
  }
}
