/** The plan as the site works with it: its documents by kind and id, and what a new one changes. Pure. */
import {
  type PlanDocument,
  type PlanDocumentKind,
  type PlanHead,
  planBodies,
} from '@holdfast/protos/link/plan-documents';

export type DocumentOf<K extends PlanDocumentKind> = Extract<PlanDocument, { kind: K }>;

/** Documents by kind, then by id. Kinds that this program does not know are kept on disk and left out here. */
export type PlanDocuments = {
  readonly [K in PlanDocumentKind]: ReadonlyMap<string, DocumentOf<K>>;
};

export interface PlanView {
  readonly head: PlanHead;
  readonly documents: PlanDocuments;
}

export type DocumentChanges<K extends PlanDocumentKind> = {
  /** New, or with another revision than before. */
  readonly set: readonly DocumentOf<K>[];
  readonly removed: readonly DocumentOf<K>[];
};

export interface PlanChange {
  readonly plan: PlanView;
  readonly changed: { readonly [K in PlanDocumentKind]: DocumentChanges<K> };
}

/** `fresh` until it expires, then `grace` as long as the head says, then `expired`; `none` before the first. */
export type PlanState = 'none' | 'fresh' | 'grace' | 'expired';

export const planStateAt = (head: PlanHead | undefined, now: number): PlanState => {
  if (!head) return 'none';
  if (now < head.expires_at) return 'fresh';
  return now < head.expires_at + head.grace ? 'grace' : 'expired';
};

export const isKnownKind = (kind: string): kind is PlanDocumentKind =>
  Object.hasOwn(planBodies, kind);

export const viewOf = (head: PlanHead, documents: Iterable<PlanDocument>): PlanView => {
  const all = [...documents];
  return {
    head,
    documents: {
      site: byId(all, 'site'),
      firmware: byId(all, 'firmware'),
      metadata: byId(all, 'metadata'),
      campaign: byId(all, 'campaign'),
      group: byId(all, 'group'),
      claims: byId(all, 'claims'),
      device: byId(all, 'device'),
      policy: byId(all, 'policy'),
      revocations: byId(all, 'revocations'),
      manufacturers: byId(all, 'manufacturers'),
      users: byId(all, 'users'),
    },
  };
};

export const changesBetween = (before: PlanView | undefined, plan: PlanView): PlanChange => ({
  plan,
  changed: {
    site: changesOf(before, plan, 'site'),
    firmware: changesOf(before, plan, 'firmware'),
    metadata: changesOf(before, plan, 'metadata'),
    campaign: changesOf(before, plan, 'campaign'),
    group: changesOf(before, plan, 'group'),
    claims: changesOf(before, plan, 'claims'),
    device: changesOf(before, plan, 'device'),
    policy: changesOf(before, plan, 'policy'),
    revocations: changesOf(before, plan, 'revocations'),
    manufacturers: changesOf(before, plan, 'manufacturers'),
    users: changesOf(before, plan, 'users'),
  },
});

const byId = <K extends PlanDocumentKind>(
  documents: readonly PlanDocument[],
  kind: K,
): ReadonlyMap<string, DocumentOf<K>> =>
  new Map(
    documents
      .filter((document): document is DocumentOf<K> => document.kind === kind)
      .map((document) => [document.id, document]),
  );

const changesOf = <K extends PlanDocumentKind>(
  before: PlanView | undefined,
  after: PlanView,
  kind: K,
): DocumentChanges<K> => {
  const old: ReadonlyMap<string, DocumentOf<K>> = before?.documents[kind] ?? new Map();
  const now: ReadonlyMap<string, DocumentOf<K>> = after.documents[kind];
  return {
    set: [...now.values()].filter(
      (document) => old.get(document.id)?.revision !== document.revision,
    ),
    removed: [...old.values()].filter((document) => !now.has(document.id)),
  };
};
