/**
 * The site CA's revocation list: signed anew at once when something is revoked, and daily, so that whoever fetches it sees at its dates
 * that the site still looks after it. The doors do not go by it: they ask the revocations themselves.
 */
import { type CrlContent, createCrl } from '@holdfast/provisioning/pki/crl';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SiteStore } from '../store/site-store.js';
import type { Revocation, Revocations } from './revocations.js';

export interface SiteCrlDependencies {
  readonly site: SiteStore;
  readonly siteCa: () => Authority;
  readonly revocations: Pick<Revocations, 'of' | 'onRevoked'>;
  readonly clock: Clock;
  readonly log: StoreLog;
}

interface SignedList {
  readonly issuerKeyId: string;
  readonly number: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly pem: string;
}

const dayMs = 86_400_000;
/** How long a list is good for whoever fetched it. */
const lifetimeMs = 7 * dayMs;
/** RFC 5280, 3.3: an entry stands in one list at least that was signed after its certificate expired. */
const keptAfterExpiryMs = 8 * dayMs;

export class SiteCrl {
  readonly #deps: SiteCrlDependencies;
  #list: SignedList | undefined;
  #signing: Promise<void> = Promise.resolve();
  #isWanted = false;
  /** Something was revoked that the list does not name. */
  #isBehind = false;

  private constructor(deps: SiteCrlDependencies, list: SignedList | undefined) {
    this.#deps = deps;
    this.#list = list;
  }

  /** Signs what a stop between a revocation and its list left undone. */
  static async open(deps: SiteCrlDependencies): Promise<SiteCrl> {
    const list = await deps.site.read.get<SignedList>(
      `SELECT issuer_key_id AS issuerKeyId, number, this_update AS thisUpdate,
         next_update AS nextUpdate, pem FROM crls WHERE issuer_key_id = ?`,
      [keyIdOf(deps.siteCa())],
    );
    const crl = new SiteCrl(deps, list);
    await crl.sign();
    deps.revocations.onRevoked((revoked) => {
      const issuer = keyIdOf(deps.siteCa());
      if (revoked.some(({ issuerKeyId }) => issuerKeyId === issuer)) crl.#signSoon();
    });
    return crl;
  }

  /** In PEM; `open` has signed one. */
  get current(): Pick<CrlContent, 'number' | 'thisUpdate' | 'nextUpdate'> & {
    readonly pem: string;
  } {
    return this.#list ?? { number: 0, thisUpdate: 0, nextUpdate: 0, pem: '' };
  }

  /** Whether it is time for another: it is a day old, or from a day that has not come, or lacks what the disk did not take. */
  get isDue(): boolean {
    const { clock } = this.#deps;
    const ageMs = clock.now() - this.current.thisUpdate;
    return this.#isBehind || ageMs >= dayMs || (clock.trusted && ageMs <= -dayMs);
  }

  /** Signs a new list; resolves when it is the one that is served. Calls during a signature share the next one. */
  sign(): Promise<void> {
    if (!this.#isWanted) {
      this.#isWanted = true;
      this.#signing = this.#signing.catch(() => undefined).then(() => this.#sign());
    }
    return this.#signing;
  }

  /** Waits for the signature under way. */
  async close(): Promise<void> {
    await this.#signing.catch(() => undefined);
  }

  #signSoon(): void {
    this.#isBehind = true;
    this.sign().catch((err: unknown) =>
      this.#deps.log.error({ err }, 'the revocation list could not be signed: it is tried again'),
    );
  }

  async #sign(): Promise<void> {
    this.#isWanted = false;
    const { site, siteCa, revocations, clock } = this.#deps;
    const authority = siteCa();
    const issuerKeyId = keyIdOf(authority);
    const before = this.#list?.issuerKeyId === issuerKeyId ? this.#list : undefined;
    // A clock that has lost its time must not make a list from before its issuer, or the last one.
    const least = clock.trusted ? 0 : (before?.thisUpdate ?? 0);
    const now = Math.max(clock.now(), authority.certificate.notBefore, least);
    const content = {
      // Above those of a database that was lost, as far as the clock knows.
      number: Math.max((before?.number ?? 0) + 1, Math.floor(now / 1_000)),
      thisUpdate: now,
      nextUpdate: now + lifetimeMs,
    };
    const isListed = ({ expiresAt }: Revocation): boolean =>
      expiresAt === null || !clock.trusted || expiresAt + keptAfterExpiryMs > now;
    const revoked = revocations
      .of(issuerKeyId)
      .filter(isListed)
      .map(({ serial, revokedAt, reason }) => ({ serial, at: Math.min(revokedAt, now), reason }));
    const pem = await createCrl(authority, { ...content, revoked });
    const list = { issuerKeyId, ...content, pem };
    await site.commit([
      {
        sql: `INSERT OR REPLACE INTO crls (issuer_key_id, number, this_update, next_update, pem)
              VALUES (?, ?, ?, ?, ?)`,
        params: [issuerKeyId, list.number, list.thisUpdate, list.nextUpdate, list.pem],
      },
    ]);
    this.#list = list;
    if (!this.#isWanted) this.#isBehind = false;
  }
}

const keyIdOf = ({ certificate }: Authority): string => certificate.extensions.subjectKeyId ?? '';
