/** Measurements on their way to the telemetry: in order, bounded, tried again while the disk does not take them. */
import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';

/** Beyond it the oldest go, counted. */
const mostPoints = 1_000;

interface Waiting {
  readonly series: string;
  readonly point: TelemetryPoint;
}

export class GpioPoints {
  readonly #record: (series: string, points: readonly TelemetryPoint[]) => Promise<void>;
  readonly #waiting: Waiting[] = [];
  #dropped = 0;
  #recording: Promise<void> | undefined;

  constructor(record: (series: string, points: readonly TelemetryPoint[]) => Promise<void>) {
    this.#record = record;
  }

  get dropped(): number {
    return this.#dropped;
  }

  add(series: string, point: TelemetryPoint): void {
    this.#waiting.push({ series, point });
    if (this.#waiting.length <= mostPoints) return;
    this.#waiting.shift();
    this.#dropped += 1;
  }

  /** Resolves when all that waits is recorded. Errors: those of the telemetry; what is left waits. */
  async flush(): Promise<void> {
    this.#recording ??= this.#flush().finally(() => {
      this.#recording = undefined;
    });
    await this.#recording;
  }

  async #flush(): Promise<void> {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      const batch = this.#waiting.filter(({ series }) => series === first.series);
      await this.#record(
        first.series,
        batch.map(({ point }) => point),
      );
      // Meanwhile some may have been dropped, and others added.
      const left = this.#waiting.filter((one) => !batch.includes(one));
      this.#waiting.splice(0, this.#waiting.length, ...left);
    }
  }
}
