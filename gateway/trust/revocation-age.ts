/**
 * How old the site's knowledge is of what was revoked elsewhere. While the link is up it is current, since a new plan comes at once; from
 * then on it grows older. What a site does without when it is too old is its policy; whoever runs goes on running.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SitePolicy, StaleStop } from '@holdfast/protos/link/site-policy';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Plan } from '../link/plan.js';
import type { SiteStore } from '../store/site-store.js';

export interface RevocationAgeDependencies {
  readonly site: SiteStore;
  readonly plan: Pick<Plan, 'current'>;
  readonly policy: () => SitePolicy;
  readonly clock: Clock;
}

export interface RevocationAgeStatus {
  /** When the control plane was last known to have nothing newer, epoch ms; null before the first plan. */
  readonly asOf: number | null;
  /** Null before the first plan, and while the clock is not trusted. */
  readonly ageMs: number | null;
  readonly mostMs: number;
  readonly isStale: boolean;
  readonly stops: readonly StaleStop[];
}

/** What says whether the control plane can be heard now. */
export interface Contact {
  readonly connected: boolean;
  readonly lastContact: number | null;
}

export class RevocationAge {
  readonly #deps: RevocationAgeDependencies;
  #contact: () => Contact | undefined = () => undefined;
  /** Of an earlier run. */
  #noted: number | null;

  private constructor(deps: RevocationAgeDependencies, noted: number | null) {
    this.#deps = deps;
    this.#noted = noted;
  }

  static async open(deps: RevocationAgeDependencies): Promise<RevocationAge> {
    const row = await deps.site.read.get<{ at: number }>('SELECT at FROM control_plane_heard');
    return new RevocationAge(deps, row?.at ?? null);
  }

  /** From when the link is there. */
  watch(contact: () => Contact): void {
    this.#contact = contact;
  }

  /** When an earlier run last heard the control plane, epoch ms. */
  get heardEarlier(): number | null {
    return this.#noted;
  }

  status(): RevocationAgeStatus {
    const { clock, policy } = this.#deps;
    const { afterMs, stops } = policy().staleRevocations;
    const asOf = this.#asOf();
    const ageMs = asOf === null || !clock.trusted ? null : Math.max(0, clock.now() - asOf);
    const isStale = ageMs !== null && ageMs > afterMs;
    return { asOf, ageMs, mostMs: afterMs, isStale, stops: [...stops] };
  }

  /** Throws REVOCATIONS_STALE when the policy says to do without this now. */
  check(what: StaleStop): void {
    const { ageMs, isStale, stops } = this.status();
    if (!isStale || ageMs === null || !stops.includes(what)) return;
    const days = Math.floor(ageMs / 86_400_000);
    throw new HoldfastError(
      'REVOCATIONS_STALE',
      `this site has not heard for ${days} days what was revoked elsewhere, and by its policy does without ${what} until it does`,
      { data: { next: 'connect the gateway to its control plane' } },
    );
  }

  /** Keeps for the next start when the control plane was last heard; now and then, and at the end. */
  async note(): Promise<void> {
    const asOf = this.#asOf();
    if (asOf === null || asOf === this.#noted || !this.#deps.clock.trusted) return;
    await this.#deps.site.commit([
      { sql: 'INSERT OR REPLACE INTO control_plane_heard (id, at) VALUES (1, ?)', params: [asOf] },
    ]);
    this.#noted = asOf;
  }

  #asOf(): number | null {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return null;
    const contact = this.#contact();
    if (contact?.connected === true) return this.#deps.clock.now();
    return Math.max(plan.head.issued_at, this.#noted ?? 0, contact?.lastContact ?? 0);
  }
}
