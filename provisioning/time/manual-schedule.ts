/** A schedule for tests that hold the clock: whatever is scheduled runs when it is told to. */
import type { Schedule } from './schedule.js';

export class ManualSchedule {
  readonly #jobs = new Set<() => unknown>();

  readonly schedule: Schedule = (_expression, work) => {
    this.#jobs.add(work);
    return {
      stop: async () => {
        this.#jobs.delete(work);
      },
    };
  };

  /** Runs everything once, one after the other: all of it bears being run more often than it asks for. */
  async run(): Promise<void> {
    for (const work of [...this.#jobs]) await work();
  }
}
