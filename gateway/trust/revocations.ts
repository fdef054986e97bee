/**
 * Which certificates hold no longer, of whatever issuer: asked on every connection, so it is held in memory. What is revoked here and
 * what the plan says is revoked are the same rows, and a revocation is never taken back: a plan that no longer names one
 * changes nothing.
 */
import type { RevocationsBody } from '@holdfast/protos/link/plan-documents';
import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';

export interface RevocationsDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
}

/** By the issuer's subject key id and the serial number, both in lower-case hexadecimal. */
export interface RevocableCertificate {
  readonly issuerKeyId: string;
  readonly serial: string;
  /** The device it was issued to; null for what the root issued. */
  readonly device: string | null;
  /** Epoch ms; null where nobody knows. */
  readonly expiresAt: number | null;
}

export interface Revocation extends RevocableCertificate {
  readonly reason: RevocationReason;
  /** As `site:operator` or `cloud:admin`. */
  readonly actor: string;
  /** Epoch ms. */
  readonly revokedAt: number;
}

export type RevocationCause = Pick<Revocation, 'reason' | 'actor'>;

export class Revocations {
  readonly #deps: RevocationsDependencies;
  readonly #revoked = new Map<string, Revocation>();
  /** In force, and not on disk yet: their commit is under way, or the disk refused it. */
  readonly #unstored = new Map<string, Revocation>();
  readonly #listeners = new Set<(revoked: readonly Revocation[]) => void>();

  private constructor(deps: RevocationsDependencies, revoked: readonly Revocation[]) {
    this.#deps = deps;
    for (const one of revoked) this.#revoked.set(keyOf(one), one);
  }

  static async open(deps: RevocationsDependencies): Promise<Revocations> {
    const revoked = await deps.site.read.all<Revocation>(
      `SELECT issuer_key_id AS issuerKeyId, serial, device, reason, actor, revoked_at AS revokedAt,
         expires_at AS expiresAt FROM revocations`,
    );
    return new Revocations(deps, revoked);
  }

  /** Whether this certificate holds no longer. */
  readonly isRevoked = (issuerKeyId: string, serial: string): boolean =>
    this.#revoked.has(keyOf({ issuerKeyId, serial }));

  get count(): number {
    return this.#revoked.size;
  }

  /** What this issuer's list has to name. */
  of(issuerKeyId: string): Revocation[] {
    return [...this.#revoked.values()].filter((one) => one.issuerKeyId === issuerKeyId);
  }

  /** Told of what was not revoked before, once it is refused everywhere: sessions are to be cut. Returns how to stop it. */
  onRevoked(listener: (revoked: readonly Revocation[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Revokes what is not revoked yet and resolves with it after the commit. It takes effect in memory before: if the disk refuses, the
   * certificates are refused all the same until the next start, and the caller is told; asked again, it is written again. Errors: those
   * of the store.
   */
  async revoke(
    certificates: readonly RevocableCertificate[],
    cause: RevocationCause,
  ): Promise<Revocation[]> {
    const revoked = this.decide(certificates, cause);
    await this.#enforce(revoked);
    return revoked;
  }

  /** Writes what the disk refused. To be called now and then. Errors: those of the store. */
  async store(): Promise<void> {
    await this.#write([...this.#unstored.values()]);
  }

  /**
   * For a change of which a revocation is a part: what would be new, or is not on disk yet, to be written with `writeOf` and then taken
   * with `take`.
   */
  decide(certificates: readonly RevocableCertificate[], cause: RevocationCause): Revocation[] {
    const revokedAt = this.#deps.clock.now();
    return certificates
      .filter((one) => !this.#revoked.has(keyOf(one)) || this.#unstored.has(keyOf(one)))
      .map((one) => {
        const { issuerKeyId, serial, device, expiresAt } = one;
        const { reason, actor } = cause;
        const fresh = { issuerKeyId, serial, device, expiresAt, revokedAt, reason, actor };
        return this.#unstored.get(keyOf(one)) ?? fresh;
      });
  }

  writeOf(revoked: readonly Revocation[]): Write {
    const at = this.#deps.clock.now();
    return revoked.flatMap((one) => [
      {
        sql: `INSERT OR IGNORE INTO revocations
                (issuer_key_id, serial, device, reason, actor, revoked_at, expires_at)
              VALUES (?, ?, ?, ?, ?, ?, ?)`,
        params: [
          ...[one.issuerKeyId, one.serial, one.device, one.reason, one.actor],
          ...[one.revokedAt, one.expiresAt],
        ],
      },
      journalEntry(
        'audit',
        'certificate_revoked',
        {
          issuer_key_id: one.issuerKeyId,
          serial: one.serial,
          device: one.device,
          reason: one.reason,
          actor: one.actor,
          revoked_at: one.revokedAt,
          expires_at: one.expiresAt,
        },
        at,
      ),
    ]);
  }

  /** After the commit. */
  take(revoked: readonly Revocation[]): void {
    for (const one of revoked) this.#unstored.delete(keyOf(one));
    this.#put(revoked);
  }

  /** Before the commit. */
  async #enforce(revoked: readonly Revocation[]): Promise<void> {
    for (const one of revoked) this.#unstored.set(keyOf(one), one);
    this.#put(revoked);
    await this.#write(revoked);
  }

  async #write(revoked: readonly Revocation[]): Promise<void> {
    if (revoked.length === 0) return;
    await this.#deps.site.commit(this.writeOf(revoked), { isUrgent: true });
    for (const one of revoked) this.#unstored.delete(keyOf(one));
  }

  #put(revoked: readonly Revocation[]): void {
    const fresh = revoked.filter((one) => !this.#revoked.has(keyOf(one)));
    for (const one of fresh) this.#revoked.set(keyOf(one), one);
    if (fresh.length === 0) return;
    for (const listener of this.#listeners) {
      try {
        listener(fresh);
      } catch (err) {
        this.#deps.log.error({ err }, 'a part could not act on a revocation');
      }
    }
  }

  /** What the plan says is revoked; at the start and at each plan. Resolves after the commit. */
  async follow(body: RevocationsBody | undefined): Promise<void> {
    const named = (body?.certificates ?? []).map(
      (one): Revocation => ({
        issuerKeyId: one.issuer_key_id,
        serial: one.serial,
        device: one.device,
        reason: one.reason,
        actor: one.actor,
        revokedAt: one.at,
        expiresAt: one.expires_at,
      }),
    );
    const isDue = (one: Revocation): boolean =>
      !this.#revoked.has(keyOf(one)) || this.#unstored.has(keyOf(one));
    await this.#enforce(named.filter(isDue));
  }
}

const keyOf = ({ issuerKeyId, serial }: Pick<Revocation, 'issuerKeyId' | 'serial'>): string =>
  `${issuerKeyId}/${serial}`;
