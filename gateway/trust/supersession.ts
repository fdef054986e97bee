/**
 * Revokes what a renewal left behind: a day after a device first authenticated with a certificate, those it had before hold no longer.
 * Until then the old one is its way back, should the new one be lost. Which certificates were used, and when first, stands in the
 * register; while the clock is not trusted nothing is dated and nothing revoked.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SiteStore } from '../store/site-store.js';
import {
  certificateUsed,
  pruneRegister,
  supersededCertificates,
  usedSerials,
} from './certificate-register.js';
import { reEnrolmentGraceMs } from './decide-enrolment.js';
import type { Revocations } from './revocations.js';

export interface SupersessionDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly revocations: Pick<Revocations, 'revoke'>;
  readonly log: StoreLog;
}

export interface SupersessionOptions {
  /** How long after the first use of a certificate those before it still hold; 24 h. */
  readonly afterMs?: number;
}

/** Revocations of one commit. */
const mostAtOnce = 200;
/** How long a certificate that was revoked is still shown. */
const keptRevokedMs = 90 * 86_400_000;
/** Of those that were used; beyond it, those that are worth nothing any more are forgotten: to note one again changes nothing. */
const mostUsed = 10_000;

export class Supersession {
  readonly #deps: SupersessionDependencies;
  readonly #afterMs: number;
  #used: Set<string>;
  /** Used, and not yet noted. */
  readonly #toNote = new Set<string>();
  #working: Promise<void> = Promise.resolve();
  #forgetAt = mostUsed;

  private constructor(deps: SupersessionDependencies, afterMs: number, used: readonly string[]) {
    this.#deps = deps;
    this.#afterMs = afterMs;
    this.#used = new Set(used);
  }

  static async open(
    deps: SupersessionDependencies,
    { afterMs = 86_400_000 }: SupersessionOptions = {},
  ): Promise<Supersession> {
    return new Supersession(deps, afterMs, await usedSerials(deps.site.read, endedAfter(deps)));
  }

  /** A device has authenticated with this certificate: told on every connection, so it costs a look into a set. */
  used(serial: string): void {
    if (this.#used.has(serial)) return;
    this.#used.add(serial);
    this.#toNote.add(serial);
    void this.#note();
  }

  /** To be called now and then; resolves when what is due is committed. Never rejects. */
  async check(): Promise<void> {
    await this.#note();
    await this.#queue(async () => {
      const { site, clock, revocations } = this.#deps;
      if (!clock.trusted) return;
      if (this.#used.size > this.#forgetAt) {
        const kept = await usedSerials(site.read, endedAfter(this.#deps));
        this.#used = new Set([...kept, ...this.#toNote]);
        this.#forgetAt = Math.max(mostUsed, 2 * this.#used.size);
      }
      const due = await supersededCertificates(site.read, {
        usedBefore: clock.now() - this.#afterMs,
        endedAfter: endedAfter(this.#deps),
        limit: mostAtOnce,
      });
      if (due.length === 0) return;
      await revocations.revoke(due, { reason: 'superseded', actor: 'site:renewal' });
      if (due.length === mostAtOnce) queueMicrotask(() => void this.check());
    });
  }

  /** To be called daily: takes out of the register what nobody asks for any more. Never rejects. */
  async prune(): Promise<void> {
    await this.#queue(async () => {
      const { site, clock } = this.#deps;
      if (!clock.trusted) return;
      const what = { revokedBefore: clock.now() - keptRevokedMs, limit: mostAtOnce };
      let pruned = mostAtOnce;
      while (pruned === mostAtOnce) pruned = await pruneRegister(site, what);
    });
  }

  async close(): Promise<void> {
    await this.#working;
  }

  #note(): Promise<void> {
    return this.#queue(async () => {
      const { site, clock } = this.#deps;
      // A date that nobody vouches for would let the old certificate go at once, or never.
      if (!clock.trusted || this.#toNote.size === 0) return;
      const serials = [...this.#toNote];
      this.#toNote.clear();
      try {
        await site.commit(serials.map((serial) => certificateUsed(serial, clock.now())));
      } catch (error) {
        for (const serial of serials) this.#toNote.add(serial);
        throw error;
      }
    });
  }

  /** One after the other, so that a check sees what was noted before it. */
  #queue(work: () => Promise<void>): Promise<void> {
    this.#working = this.#working.then(work).catch((error: unknown) => {
      const reason = messageOf(error);
      this.#deps.log.warn({ reason }, 'superseded certificates are looked at again later');
    });
    return this.#working;
  }
}

/** Before that, a certificate is worth nothing even for a renewal. With a clock at 1970 that is everything there is. */
const endedAfter = ({ clock }: SupersessionDependencies): number =>
  clock.now() - reEnrolmentGraceMs;
