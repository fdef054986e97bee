/** The documents of a site's plan: who provides them, and how they are numbered, hashed and stored. */
import type { PlanDocument } from '@holdfast/protos/link/plan-documents';
import { canonicalJson, canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';

/** A document before it has its revision. */
export type PlanContent = PlanDocument extends infer D
  ? D extends PlanDocument
    ? Omit<D, 'revision'>
    : never
  : never;

/** Says which documents of its kind a site's plan has now; a document that it leaves out is gone. Reads through `db` alone. */
export type PlanDocumentProvider = (
  db: Kysely<Schema>,
  site: string,
) => Promise<readonly PlanContent[]>;

export interface ComposedDocument {
  readonly kind: string;
  readonly id: string;
  readonly revision: number;
  readonly sha256: string;
  readonly bodySha256: string;
  /** Canonical JSON of the whole document. */
  readonly content: string;
}

/** The plan as it is now. A document whose body is the published one keeps its revision; every other gets `revision`. */
export const composeDocuments = async (
  db: Kysely<Schema>,
  providers: readonly PlanDocumentProvider[],
  site: string,
  revision: number,
): Promise<ComposedDocument[]> => {
  const published = await db
    .selectFrom('plan_documents')
    .select(['kind', 'id', 'revision', 'body_sha256'])
    .where('site_id', '=', site)
    .execute();
  const before = new Map(published.map((row) => [`${row.kind}/${row.id}`, row]));
  const documents: ComposedDocument[] = [];
  for (const provide of providers) {
    for (const content of await provide(db, site)) {
      const bodySha256 = canonicalSha256(content.body);
      const known = before.get(`${content.kind}/${content.id}`);
      documents.push(
        compose(content, known?.body_sha256 === bodySha256 ? known.revision : revision, bodySha256),
      );
    }
  }
  return documents.sort((a, b) => compare(a.kind, b.kind) || compare(a.id, b.id));
};

/** Replaces the stored documents; the rows of those that did not change stay as they are. */
export const storeDocuments = async (
  db: Kysely<Schema>,
  site: string,
  documents: readonly ComposedDocument[],
): Promise<void> => {
  const live = new Set(documents.map(({ sha256 }) => sha256));
  const stored = await db
    .selectFrom('plan_documents')
    .select(['kind', 'id', 'sha256'])
    .where('site_id', '=', site)
    .execute();
  const held = new Set<string>();
  for (const { kind, id, sha256 } of stored) {
    if (live.has(sha256)) {
      held.add(sha256);
      continue;
    }
    await db
      .deleteFrom('plan_documents')
      .where('site_id', '=', site)
      .where('kind', '=', kind)
      .where('id', '=', id)
      .execute();
  }
  for (const document of documents) {
    if (held.has(document.sha256)) continue;
    await db
      .insertInto('plan_documents')
      .values({
        site_id: site,
        kind: document.kind,
        id: document.id,
        revision: document.revision,
        sha256: document.sha256,
        body_sha256: document.bodySha256,
        content: document.content,
      })
      .execute();
  }
};

const compose = (content: PlanContent, revision: number, bodySha256: string): ComposedDocument => {
  // What the spread makes of the union's members is one of them again; TypeScript does not follow.
  const document = { ...content, revision } as PlanDocument;
  return {
    kind: document.kind,
    id: document.id,
    revision,
    sha256: canonicalSha256(document),
    bodySha256,
    content: canonicalJson(document),
  };
};

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
