/** The codes that may enrol a device here: those of the plan, and those made on site while the WAN was down. */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ClaimsBody } from '@holdfast/protos/link/plan-documents';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { createSecret, hashClaim } from '@holdfast/provisioning/pki/claim-code';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ClockCorrection } from '@holdfast/provisioning/time/trusted-clock';
import type { SiteStore } from '../store/site-store.js';
import type { OpenClaim } from './decide-enrolment.js';

export interface SiteClaimsDependencies {
  readonly store: SiteStore;
  readonly clock: Clock;
  /** The codes that the plan has now. */
  readonly planned: () => ClaimsBody['codes'];
  /** That codes are bound to. */
  readonly site: string;
}

export interface WantedClaim {
  /** null lets the device name itself. */
  readonly device: string | null;
  /** null lets the device say. */
  readonly model: string | null;
  readonly lifetimeMs: number;
}

export interface MadeClaim {
  readonly secret: string;
  readonly device: string | null;
  readonly model: string | null;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** A code made on site that nobody has used. */
export interface OpenMadeClaim {
  /** The beginning of its hash: enough to name it, and nothing that could be used. */
  readonly id: string;
  readonly device: string | null;
  readonly model: string | null;
  /** Epoch ms. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

const idLength = 16;
const longestClaimMs = 30 * 86_400_000;
const mostAtOnce = 1_000;
/** A technician who needs more of them stands at another kind of site. */
const mostMade = 10_000;

export class SiteClaims {
  readonly #deps: SiteClaimsDependencies;

  constructor(deps: SiteClaimsDependencies) {
    this.#deps = deps;
  }

  /** Whatever its age: an expired one is refused by name. */
  async find(hash: string): Promise<OpenClaim | undefined> {
    const { planned, store } = this.#deps;
    return (
      planned().find((code) => code.hash === hash) ??
      (await store.read.get<OpenClaim>(
        'SELECT device_id, model, expires_at FROM claims_made WHERE hash = ?',
        [hash],
      ))
    );
  }

  /** Codes that were made while nobody knew the time last as long as they were to. */
  async correct({ from, to, step }: ClockCorrection): Promise<void> {
    await this.#deps.store.commit([
      {
        sql: `UPDATE claims_made SET created_at = created_at + ?1, expires_at = expires_at + ?1
              WHERE created_at BETWEEN ?2 AND ?3`,
        params: [step, from, to],
      },
    ]);
  }

  /** Makes codes on site, all of them or none. Errors: REQUEST_INVALID, RESOURCE_STATE_WRONG, and those of the store. */
  async make(wanted: readonly WantedClaim[]): Promise<MadeClaim[]> {
    const { store, clock, site } = this.#deps;
    const now = clock.now();
    const made = wanted.map((claim) => {
      requireClaim(claim);
      const { device, model, lifetimeMs } = claim;
      return { secret: createSecret(), device, model, expiresAt: now + lifetimeMs };
    });
    if (made.length > mostAtOnce) throw refused(`at most ${mostAtOnce} codes at once`);
    const { n = 0 } =
      (await store.read.get<{ n: number }>('SELECT count(*) AS n FROM claims_made')) ?? {};
    if (n + made.length > mostMade) {
      throw new HoldfastError(
        'RESOURCE_STATE_WRONG',
        `${n} codes made here are open, and there may be ${mostMade}: wait until some have expired`,
      );
    }
    await store.commit(
      made.map(({ secret, device, model, expiresAt }) => ({
        sql: 'INSERT INTO claims_made (hash, device_id, model, created_at, expires_at) VALUES (?, ?, ?, ?, ?)',
        params: [hashClaim(secret, site), device, model, now, expiresAt],
      })),
    );
    return made;
  }

  /** Those made on site that can still be used; the plan's are the control plane's to show. */
  open(): Promise<OpenMadeClaim[]> {
    const { store, clock } = this.#deps;
    return store.read.all<OpenMadeClaim>(
      `SELECT substr(hash, 1, ${idLength}) AS id, device_id AS device, model, created_at AS createdAt,
         expires_at AS expiresAt FROM claims_made WHERE expires_at > ? ORDER BY created_at, hash`,
      [clock.trusted ? clock.now() : 0],
    );
  }

  /** Errors: RESOURCE_NOT_FOUND, and those of the store. */
  async remove(id: string): Promise<void> {
    try {
      await this.#deps.store.commit([
        {
          sql: `DELETE FROM claims_made WHERE substr(hash, 1, ${idLength}) = ?`,
          params: [id],
          expectChanges: 1,
        },
      ]);
    } catch (cause) {
      if (!isHoldfastError(cause, 'STORE_CONFLICT')) throw cause;
      throw new HoldfastError('RESOURCE_NOT_FOUND', `no open code ${id} was made here`, { cause });
    }
  }

  /** For the write in which a code is used. */
  used(hash: string): Statement {
    return { sql: 'DELETE FROM claims_made WHERE hash = ?', params: [hash] };
  }

  /** Forgets what expired a week ago; until then it is refused as expired and not as unknown. Resolves after the commit. */
  async prune(): Promise<void> {
    const { store, clock } = this.#deps;
    if (!clock.trusted) return;
    await store.commit([
      { sql: 'DELETE FROM claims_made WHERE expires_at < ?', params: [clock.now() - keptMs] },
    ]);
  }
}

const keptMs = 7 * 86_400_000;
const longestModel = 128;

const requireClaim = ({ device, model, lifetimeMs }: WantedClaim): void => {
  if (device !== null && !isDeviceId(device)) {
    throw refused(`'${device}' is no device id: 1 to 64 of letters, digits, _ and -`);
  }
  if (model !== null && (model.length === 0 || model.length > longestModel)) {
    throw refused(`a model is 1 to ${longestModel} characters`);
  }
  if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs <= 0 || lifetimeMs > longestClaimMs) {
    throw refused('a code lives at most 30 days');
  }
};

const refused = (message: string) => new HoldfastError('REQUEST_INVALID', message);
