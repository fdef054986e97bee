/**
 * What devices judge firmware by for themselves: the head of the plan as it was signed, and of what it names the metadata that firmware is
 * signed with, the images, the campaigns that install them, and the policy.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type PlanHead, planHead } from '@holdfast/protos/link/plan-documents';
import type { Database } from '@holdfast/provisioning/storage/database';
import * as v from 'valibot';

export interface PlannedMetadata {
  /** The JWS of the plan's head. */
  readonly head: string;
  /** In canonical JSON: their SHA-256 is what the head names. */
  readonly documents: readonly string[];
}

/** Plans that may be applied between two reads; more often it is the store that misses a document. */
const mostReads = 5;

/** What the plan on disk has, all of one plan. Errors: RESOURCE_NOT_FOUND before the first plan, STORE_UNAVAILABLE. */
export const readPlannedMetadata = async (read: Database): Promise<PlannedMetadata> => {
  for (let reads = 0; reads < mostReads; reads += 1) {
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
  throw new HoldfastError('STORE_UNAVAILABLE', 'the store misses documents that its plan names');
};

const told: readonly string[] = ['metadata', 'firmware', 'policy', 'campaign'];

const documentsOf = async (read: Database, head: PlanHead): Promise<string[] | undefined> => {
  const named = head.documents.filter(({ kind }) => told.includes(kind));
  if (named.length === 0) return [];
  const rows = await read.all<{ sha256: string; content: string; is_job: number }>(
    `SELECT sha256, content,
            json_extract(content, '$.kind') = 'campaign'
              AND json_array_length(content, '$.body.firmware') = 0 AS is_job
     FROM plan_documents WHERE sha256 IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(named.map(({ sha256 }) => sha256))],
  );
  const held = new Map(rows.map((row) => [row.sha256, row]));
  const documents: string[] = [];
  for (const { sha256 } of named) {
    const row = held.get(sha256);
    if (row === undefined) return undefined;
    // What a plain job says to its devices is not for the others.
    if (row.is_job === 0) documents.push(row.content);
  }
  return documents;
};
