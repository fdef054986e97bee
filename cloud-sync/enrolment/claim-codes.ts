/** One-time codes for devices: made, listed, deleted. The control plane keeps their hashes alone. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ClaimCode, CreateClaimCodeRequest } from '@holdfast/protos/gen/holdfast/v1/devices';
import { createSecret, formatClaimCode, hashClaim } from '@holdfast/provisioning/pki/claim-code';
import type { Kysely, Selectable } from 'kysely';
import { claimCodeName, requireId } from '../api/resource-name.js';
import { requireLifetime } from '../sites/site-service.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';

/** What a code is to enrol. */
export interface NewClaim {
  /** null lets the device name itself. */
  readonly device: string | null;
  /** null lets the device say. */
  readonly model: string | null;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** What the device gets with its enrolment; canonical JSON, as `requireLabels` makes it. */
  readonly labels?: string;
  readonly serialNo?: string;
}

export type ClaimRow = Selectable<Schema['claim_codes']>;

/** As many as a document of the plan can hold. */
const mostOpen = 10_000;
const daySeconds = 86_400;
const longestModel = 128;

/** Errors: REQUEST_INVALID. */
export const requireClaim = (
  request: Pick<CreateClaimCodeRequest, 'deviceId' | 'lifetimeSeconds' | 'model'>,
  now: number,
): NewClaim => ({
  device: request.deviceId === '' ? null : requireId(request.deviceId, 'device_id'),
  model: request.model === '' ? null : requireModel(request.model),
  expiresAt: now + claimLifetime(request.lifetimeSeconds),
});

/** Milliseconds; 30 days where nothing is said. Errors: REQUEST_INVALID. */
export const claimLifetime = (seconds: number): number =>
  requireLifetime(seconds, 30 * daySeconds, 365 * daySeconds);

/** Errors: REQUEST_INVALID. */
export const requireModel = (model: string): string => {
  if (model.length > 0 && model.length <= longestModel && !/\p{C}/u.test(model)) return model;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `a model is 1 to ${longestModel} printable characters, and this is "${model.slice(0, 200)}"`,
  );
};

export interface MakingClaims {
  readonly site: string;
  readonly rootSha256: string;
  readonly now: number;
}

/** Stores new codes within the caller's transaction, who asks for the site's next plan. Errors: RESOURCE_EXHAUSTED. */
export const makeClaims = async (
  { db }: WriteTransaction,
  { site, rootSha256, now }: MakingClaims,
  claims: readonly NewClaim[],
): Promise<ClaimCode[]> => {
  await requireRoom(db, site, now, claims.length);
  const made: ClaimCode[] = [];
  for (const claim of claims) {
    const secret = createSecret();
    const row: ClaimRow = {
      hash: hashClaim(secret, site),
      site_id: site,
      device_id: claim.device,
      model: claim.model,
      labels: claim.labels ?? '{}',
      serial_no: claim.serialNo ?? '',
      created_at: now,
      expires_at: claim.expiresAt,
      used_at: null,
      used_by: null,
      deleted_at: null,
    };
    await db.insertInto('claim_codes').values(row).execute();
    const code = formatClaimCode({ kind: 'device', secret, rootSha256, address: undefined });
    made.push({ ...claimMessage(row), code });
  }
  return made;
};

/** The codes that a site's plan names. */
export const openClaims = (db: Kysely<Schema>, now: number) =>
  db
    .selectFrom('claim_codes')
    .where('used_at', 'is', null)
    .where('deleted_at', 'is', null)
    .where('expires_at', '>', now);

/** Idempotent by its outcome: a code that is not open any more is one that nobody can use. Errors: RESOURCE_NOT_FOUND. */
export const deleteClaim = async (
  { db }: WriteTransaction,
  { site, claim, now }: { readonly site: string; readonly claim: string; readonly now: number },
): Promise<void> => {
  const result = await db
    .updateTable('claim_codes')
    .set({ deleted_at: now })
    .where('site_id', '=', site)
    // The hash begins with the id: from it, to what sorts right behind every hexadecimal digit.
    .where('hash', '>=', claim)
    .where('hash', '<', `${claim}g`)
    .where('used_at', 'is', null)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
  if (result.numUpdatedRows === 1n) return;
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `There is no open code ${claim} of the site ${site}`,
  );
};

export const claimMessage = (row: ClaimRow): ClaimCode => ({
  code: '',
  name: claimCodeName(row.site_id, claimIdOf(row.hash)),
  deviceId: row.device_id ?? '',
  model: row.model ?? '',
  createTime: new Date(row.created_at),
  expireTime: new Date(row.expires_at),
});

/** 64 of the 256 bits: enough to tell codes apart, and nothing that could be used. */
export const claimIdOf = (hash: string): string => hash.slice(0, claimIdLength);
export const claimIdLength = 16;

const requireRoom = async (
  db: Kysely<Schema>,
  site: string,
  now: number,
  more: number,
): Promise<void> => {
  const row = await openClaims(db, now)
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('site_id', '=', site)
    .executeTakeFirstOrThrow();
  if (Number(row.n) + more <= mostOpen) return;
  throw new HoldfastError(
    'RESOURCE_STATE_WRONG',
    `The site ${site} has ${row.n} open codes and may have ${mostOpen}. Delete those that nobody will use: holdfast device claims`,
  );
};
