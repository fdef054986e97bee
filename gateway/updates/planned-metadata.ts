/** The metadata that firmware is signed with, as devices fetch it to verify by themselves: the head of the plan as it was signed, and its documents. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type PlanHead, planHead } from '@holdfast/protos/link/plan-documents';
import type { Database } from '@holdfast/provisioning/storage/database';
import * as v from 'valibot';

export interface PlannedMetadata {
  /** The JWS of the plan's head. */
  readonly head: string;
  /** Documents of kind `metadata` in canonical JSON: their SHA-256 is what the head names. */
  readonly documents: readonly string[];
}

/** What the plan on disk has, all of one plan. Errors: RESOURCE_NOT_FOUND before the first plan. */
export const readPlannedMetadata = async (read: Database): Promise<PlannedMetadata> => {
  for (;;) {
    const row = await read.get<{ jws: string; payload: string }>(
      'SELECT jws, payload FROM plan_head WHERE id = 1',
    );
    if (row === undefined) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', 'this site has no plan yet');
    }
    const documents = await documentsOf(read, v.parse(planHead, JSON.parse(row.payload)));
    // Another plan was applied between the two reads.
    if (documents !== undefined) return { head: row.jws, documents };
  }
};

const documentsOf = async (read: Database, head: PlanHead): Promise<string[] | undefined> => {
  const named = head.documents.filter(({ kind }) => kind === 'metadata');
  if (named.length === 0) return [];
  const rows = await read.all<{ sha256: string; content: string }>(
    `SELECT sha256, content FROM plan_documents WHERE sha256 IN (${named.map(() => '?').join(', ')})`,
    named.map(({ sha256 }) => sha256),
  );
  const contents = new Map(rows.map(({ sha256, content }) => [sha256, content]));
  const documents = named.flatMap(({ sha256 }) => contents.get(sha256) ?? []);
  return documents.length === named.length ? documents : undefined;
};
