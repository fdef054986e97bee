/**
 * For how long the site has not heard of the control plane: what was recalled meanwhile it cannot know. By a clock that is not trusted
 * it is the time since by the monotonic one, and what was known to have passed before.
 */
import type { Clock } from '@holdfast/provisioning/time/clock';

export interface PlanAgeDeps {
  /** When the control plane was last known to have nothing newer, epoch ms; null before the first plan. */
  readonly asOf: () => number | null;
  readonly clock: Clock;
}

export class PlanAge {
  readonly #deps: PlanAgeDeps;
  #asOf: number | null;
  /** By the monotonic clock, when that was so, and how old it was then. */
  #since: { readonly at: number; readonly ageMs: number };

  constructor(deps: PlanAgeDeps) {
    this.#deps = deps;
    const { clock } = deps;
    this.#asOf = deps.asOf();
    const ageMs = this.#asOf === null ? 0 : Math.max(0, clock.now() - this.#asOf);
    this.#since = { at: clock.monotonic(), ageMs };
  }

  /** In ms; 0 before the first plan. To be asked now and then, so that it learns when that was. */
  ageMs(): number {
    const { clock } = this.#deps;
    const asOf = this.#deps.asOf();
    if (asOf === null) return 0;
    if (asOf !== this.#asOf) {
      this.#asOf = asOf;
      this.#since = { at: clock.monotonic(), ageMs: 0 };
    }
    const sinceMs = clock.monotonic() - this.#since.at + this.#since.ageMs;
    return clock.trusted ? Math.max(0, clock.now() - asOf) : sinceMs;
  }
}
