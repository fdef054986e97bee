/**
 * The metadata that firmware is signed with: what is published, and what is trusted by it, which only goes forward. It is verified here as
 * gateways and devices verify it, so that nothing is published that they would refuse.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  expiresAt,
  type MetadataFile,
  metadataId,
  readRoot,
  readTargets,
} from '@holdfast/provisioning/firmware/metadata-file';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import { rolesOfTarget, verifyMetadata } from '@holdfast/provisioning/firmware/verify-release';
import type { Kysely } from 'kysely';
import { recordAudit } from '../audit/audit-log.js';
import type { PlanContent } from '../sites/plan-documents.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';

export interface PublishedMetadata {
  /** Every root from the first on, and the other roles as they are now. */
  readonly files: readonly MetadataFile[];
  /** null before the first root. */
  readonly trusted: TrustedState | null;
}

/** What is published once these files are. */
export interface Publication extends PublishedMetadata {
  readonly trusted: TrustedState;
  readonly changed: readonly MetadataFile[];
  /** Ids of files that nobody delegates to any more. */
  readonly gone: readonly string[];
}

export const readMetadata = async (db: Kysely<Schema>): Promise<PublishedMetadata> => {
  const files = await db
    .selectFrom('firmware_metadata')
    .select(['role', 'version', 'signed'])
    .orderBy('role')
    .orderBy('version')
    .execute();
  const row = await db.selectFrom('firmware_trust').select('state').executeTakeFirst();
  // `publish` alone writes it.
  return { files, trusted: row === undefined ? null : JSON.parse(row.state) };
};

/**
 * Errors: those of `verifyMetadata`; FIRMWARE_METADATA_MISSING when the first root is not root 1; FIRMWARE_METADATA_EXPIRED;
 * FIRMWARE_MIX_AND_MATCH.
 */
export const preparePublication = (
  published: PublishedMetadata,
  uploaded: readonly MetadataFile[],
  now: number,
): Publication => {
  const before = new Map(published.files.map((file) => [metadataId(file), file]));
  const after = new Map(before);
  for (const file of uploaded) after.set(metadataId(file), file);
  if (after.size > 0 && !after.has('root.1')) {
    throw new HoldfastError(
      'FIRMWARE_METADATA_MISSING',
      'The chain of roots begins with root 1, which is not there',
    );
  }
  // Whoever trusts a newer root looks at it no more, and whoever comes new begins with it.
  const rewritten = uploaded.find(
    (file) => file.role === 'root' && isOther(before.get(metadataId(file)), file),
  );
  if (rewritten !== undefined) {
    throw new HoldfastError(
      'FIRMWARE_MIX_AND_MATCH',
      `The root ${rewritten.version} is published already, and this is another one`,
      { data: { next: 'holdfast firmware pull' } },
    );
  }
  const verdict = verifyMetadata(published.trusted, [...after.values()], now, { head: null });
  if (!verdict.ok) throw new HoldfastError(verdict.code, verdict.message);
  const stays = new Set(['root', ...verdict.roles]);
  const stranger = uploaded.find(({ role }) => !stays.has(role));
  if (stranger !== undefined) {
    throw new HoldfastError(
      'FIRMWARE_MIX_AND_MATCH',
      `Nobody delegates to the role ${stranger.role}, of which there is a file`,
    );
  }
  const files = [...after.values()].filter(({ role }) => stays.has(role));
  const changed = files.filter((file) => before.get(metadataId(file))?.signed !== file.signed);
  const expired = changed.find((file) => file.role !== 'root' && expiresAt(parse(file)) <= now);
  if (expired !== undefined) {
    throw new HoldfastError(
      'FIRMWARE_METADATA_EXPIRED',
      `The metadata ${metadataId(expired)} has expired: sign it anew`,
    );
  }
  return {
    files,
    trusted: verdict.trusted,
    changed,
    gone: [...before.values()].filter(({ role }) => !stays.has(role)).map(metadataId),
  };
};

const isOther = (before: MetadataFile | undefined, { signed }: MetadataFile): boolean =>
  before !== undefined && before.signed !== signed;

export interface PublishDependencies {
  readonly plans: Pick<PlanPublisher, 'request' | 'requestAll'>;
  readonly now: () => number;
}

/**
 * Stores it and asks for the plans that name it; no change, nothing done. `actor`: as the audit names people.
 * Errors: FIRMWARE_MIX_AND_MATCH when it has another image signed than the one that was uploaded under that name.
 */
export const publish = async (
  tx: WriteTransaction,
  { plans, now }: PublishDependencies,
  { changed, gone, trusted }: Publication,
  actor: string,
): Promise<void> => {
  const { db } = tx;
  if (changed.length === 0 && gone.length === 0) return;
  await checkReleases(db, changed);
  const ids = changed.map(metadataId);
  await db
    .deleteFrom('firmware_metadata')
    .where('id', 'in', [...ids, ...gone])
    .execute();
  for (const file of changed) {
    await db
      .insertInto('firmware_metadata')
      .values({
        id: metadataId(file),
        role: file.role,
        version: file.version,
        signed: file.signed,
        published_at: now(),
        expires_at: expiresAt(parse(file)),
      })
      .execute();
  }
  const state = JSON.stringify(trusted);
  await db
    .insertInto('firmware_trust')
    .values({ id: 1, state })
    .onConflict((c) => c.column('id').doUpdateSet({ state }))
    .execute();
  await recordAudit(tx, now(), {
    action: changed.some(({ role }) => role === 'root')
      ? 'firmware.keys_published'
      : 'firmware.signed',
    actor,
    details: { files: changed.map(auditedFile), gone },
  });
  // Roots and targets are in every plan; a delegated role is where a campaign needs it, and whoever needs it next asks by himself.
  if (changed.some(({ role }) => role === 'root' || role === 'targets')) {
    await plans.requestAll(tx);
    return;
  }
  const sites = await db
    .selectFrom('plan_documents')
    .select('site_id')
    .distinct()
    .where('kind', '=', 'metadata')
    .where('id', 'in', ids)
    .execute();
  await plans.request(
    tx,
    sites.map(({ site_id }) => site_id),
  );
};

/** The documents of a plan in which these targets are: the whole chain of roots, `targets`, and the roles that lead to them. */
export const metadataDocuments = async (
  db: Kysely<Schema>,
  targets: readonly string[],
): Promise<PlanContent[]> => {
  const { files } = await readMetadata(db);
  const wanted = new Set(['root', 'targets']);
  for (const target of targets) {
    for (const role of rolesOfTarget(files, target)) wanted.add(role);
  }
  return files
    .filter(({ role }) => wanted.has(role))
    .map((body): PlanContent => ({ kind: 'metadata', id: metadataId(body), body }));
};

/** A release may be taken back by leaving it out; it may not become another one. */
const checkReleases = async (
  db: Kysely<Schema>,
  changed: readonly MetadataFile[],
): Promise<void> => {
  const uploaded = await db
    .selectFrom('firmware')
    .select(['firmware_id', 'target', 'sha256'])
    .where('target', '!=', '')
    .execute();
  for (const file of changed) {
    if (file.role === 'root') continue;
    const { targets } = readTargets(file).signed;
    const other = uploaded.find(
      ({ target, sha256 }) =>
        Object.hasOwn(targets, target) && targets[target]?.hashes.sha256 !== sha256,
    );
    if (other === undefined) continue;
    throw new HoldfastError(
      'FIRMWARE_MIX_AND_MATCH',
      `The metadata ${metadataId(file)} has another image signed as ${other.firmware_id} than the one that was uploaded`,
    );
  }
};

const parse = (file: MetadataFile) => (file.role === 'root' ? readRoot(file) : readTargets(file));

const auditedFile = (file: MetadataFile) => ({
  id: metadataId(file),
  version: file.version,
  keys: Object.keys(parse(file).signatures),
});
