/**
 * The plan of the site: verified, completed, then applied in one transaction, and kept so that a start without a network has it.
 *
 * A head comes first; documents that are not held are asked for by their digest; when all are there, the plan takes the place of
 * the one before as a whole. What a head does not name is gone.
 */
import { createHash } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type DocumentReference,
  type PlanDocument,
  type PlanHead,
  planHead,
} from '@holdfast/protos/link/plan-documents';
import { decidePlan } from '@holdfast/provisioning/documents/decide-plan';
import { readPlanDocument, type VerifiedPlanHead } from '@holdfast/provisioning/documents/plan';
import type { Database } from '@holdfast/provisioning/storage/database';
import { appendTable, type Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import * as v from 'valibot';
import type { SiteStore } from '../store/site-store.js';
import type { AuditEntry } from './audit-entry.js';
import type { Fence } from './fence.js';
import {
  changesBetween,
  isKnownKind,
  type PlanChange,
  type PlanState,
  type PlanView,
  planStateAt,
  viewOf,
} from './plan-view.js';

export interface PlanDeps {
  readonly store: SiteStore;
  readonly clock: Clock;
  /** The head of a JWS whose signature and certificate were found good; throws a HoldfastError. */
  readonly verify: (jws: string) => Promise<VerifiedPlanHead>;
  readonly entry: AuditEntry;
  readonly fence: Fence;
  /** Told of a listener that failed: a plan once applied is applied. */
  readonly onListenerError: (error: unknown) => void;
}

export interface PlanOptions {
  readonly fleet: string;
  readonly site: string;
  /** Bytes of the documents of one plan at most. */
  readonly maxBytes?: number;
}

export type PlanOutcome =
  | { readonly kind: 'applied'; readonly generation: number; readonly revision: number }
  | { readonly kind: 'wanting'; readonly sha256: readonly string[] }
  | {
      readonly kind: 'refused';
      readonly generation: number;
      readonly revision: number;
      readonly code: string;
      readonly message: string;
    }
  /** Documents that nobody waits for. */
  | { readonly kind: 'ignored' };

/** A document of the plan, or null for one of a kind that a newer program knows. */
type Held = PlanDocument | null;

interface Applied {
  readonly view: PlanView;
  readonly sha256: string;
  readonly held: ReadonlyMap<string, Held>;
}

interface Pending {
  readonly jws: string;
  readonly verified: VerifiedPlanHead;
  readonly received: Map<string, { readonly content: string; readonly document: Held }>;
  bytes: number;
}

const documentRows = appendTable('plan_documents', ['sha256', 'content'], { onConflict: 'ignore' });

export class Plan {
  readonly #deps: PlanDeps;
  readonly #options: Required<PlanOptions>;
  readonly #listeners = new Set<(change: PlanChange) => void>();
  #applied: Applied | undefined;
  #pending: Pending | undefined;
  #refusedSha256 = '';

  /** Use `openPlan`. */
  constructor(deps: PlanDeps, options: PlanOptions, applied: Applied | undefined) {
    this.#deps = deps;
    this.#options = { maxBytes: 64 * 1024 * 1024, ...options };
    this.#applied = applied;
  }

  /** The plan that is carried out, or undefined before the first. */
  current(): PlanView | undefined {
    return this.#applied?.view;
  }

  /** Told after each plan that was applied; not of the one found at start. Returns how to stop it. */
  onChange(listener: (change: PlanChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether new work may be started by this plan. Nothing expires by a clock that is not trusted. */
  state(): PlanState {
    const { clock } = this.#deps;
    const head = this.#applied?.view.head;
    return planStateAt(head, clock.trusted ? clock.now() : (head?.issued_at ?? 0));
  }

  /** Takes a head. Call it, and `receiveDocuments`, for one message after the other. */
  async receiveHead(jws: string): Promise<PlanOutcome> {
    let verified: VerifiedPlanHead;
    try {
      verified = await this.#deps.verify(jws);
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      return this.#refuse({ generation: 0, revision: 0 }, sha256Of(jws), error);
    }
    const { head, sha256 } = verified;
    const applied = this.#applied && { ...this.#applied.view.head, sha256: this.#applied.sha256 };
    const decision = decidePlan({ ...this.#options, applied }, verified);
    if (decision.decision === 'refuse') return this.#refuse(head, sha256, decision);
    if (head.epoch > this.#deps.fence.epoch) {
      const message = `This site belongs to another gateway since epoch ${head.epoch}`;
      await this.#deps.fence.raise('GATEWAY_FENCED', message);
      return this.#refuse(head, sha256, { code: 'GATEWAY_FENCED', message });
    }
    if (decision.decision === 'keep') return appliedOutcome(head);
    this.#pending = { jws, verified, ...this.#receivedFor(head) };
    return this.#proceed(this.#pending);
  }

  /** Takes documents that were asked for. */
  async receiveDocuments(contents: readonly Uint8Array[]): Promise<PlanOutcome> {
    const pending = this.#pending;
    if (!pending) return { kind: 'ignored' };
    const { head, sha256: headSha256 } = pending.verified;
    const references = new Map(head.documents.map((reference) => [reference.sha256, reference]));
    for (const content of contents) {
      const sha256 = sha256Of(content);
      const reference = references.get(sha256);
      if (!reference || pending.received.has(sha256)) continue;
      pending.bytes += content.length;
      try {
        if (pending.bytes > this.#options.maxBytes) {
          throw new HoldfastError('REQUEST_TOO_LARGE', 'the documents of the plan are too large');
        }
        const document = readDocument(content, reference);
        pending.received.set(sha256, { content: Buffer.from(content).toString('utf8'), document });
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        this.#pending = undefined;
        return this.#refuse(head, headSha256, error);
      }
    }
    return this.#proceed(pending);
  }

  /** What a plan under way still lacks, to be asked for again on a new connection. */
  get wanting(): string[] {
    const pending = this.#pending;
    if (!pending) return [];
    const held = this.#applied?.held;
    const wanted = pending.verified.head.documents.map(({ sha256 }) => sha256);
    return [...new Set(wanted)].filter((sha) => !held?.has(sha) && !pending.received.has(sha));
  }

  /** What was received for the head before is often what the new one names too. */
  #receivedFor(head: PlanHead): Pick<Pending, 'received' | 'bytes'> {
    const named = new Set(head.documents.map(({ sha256 }) => sha256));
    const before = [...(this.#pending?.received ?? [])].filter(([sha]) => named.has(sha));
    const bytes = before.reduce((sum, [, { content }]) => sum + Buffer.byteLength(content), 0);
    return { received: new Map(before), bytes };
  }

  async #proceed(pending: Pending): Promise<PlanOutcome> {
    const sha256 = this.wanting;
    if (sha256.length > 0) return { kind: 'wanting', sha256 };
    await this.#apply(pending);
    return appliedOutcome(pending.verified.head);
  }

  async #apply({ jws, verified, received }: Pending): Promise<void> {
    const { head, sha256 } = verified;
    const held = new Map<string, Held>();
    for (const reference of head.documents) {
      const document = received.get(reference.sha256)?.document;
      held.set(reference.sha256, document ?? this.#applied?.held.get(reference.sha256) ?? null);
    }
    const write: Write = [
      {
        sql: 'DELETE FROM plan_documents WHERE sha256 NOT IN (SELECT value FROM json_each(?))',
        params: [JSON.stringify([...held.keys()])],
      },
      {
        sql: `INSERT OR REPLACE INTO plan_head (id, generation, revision, jws, payload, sha256, applied_at)
              VALUES (1, ?, ?, ?, ?, ?, ?)`,
        params: [
          head.generation,
          head.revision,
          jws,
          JSON.stringify(head),
          sha256,
          this.#deps.clock.now(),
        ],
      },
      ...[...received].map(([sha, { content }]) => ({ into: documentRows, row: [sha, content] })),
      this.#deps.entry('plan_applied', { generation: head.generation, revision: head.revision }),
    ];
    await this.#deps.store.commit(write);
    const before = this.#applied?.view;
    const view = viewOf(
      head,
      [...held.values()].filter((document) => document !== null),
    );
    this.#applied = { view, sha256, held };
    this.#pending = undefined;
    this.#tell(changesBetween(before, view));
  }

  #tell(change: PlanChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#deps.onListenerError(error);
      }
    }
  }

  /** The same refusal again is told to the control plane again, but stands in the journal once. */
  async #refuse(
    { generation, revision }: { generation: number; revision: number },
    sha256: string,
    { code, message }: { code: string; message: string },
  ): Promise<PlanOutcome> {
    if (sha256 !== this.#refusedSha256) {
      const refused = { generation, revision, code, message };
      await this.#deps.store.commit([this.#deps.entry('plan_refused', refused)]);
      this.#refusedSha256 = sha256;
    }
    return { kind: 'refused', generation, revision, code, message };
  }
}

interface HeadRow {
  payload: string;
  sha256: string;
}

/** Takes the applied plan up where it is on disk. One that cannot be read counts as none, and is asked for again. */
export const openPlan = async (deps: PlanDeps, options: PlanOptions): Promise<Plan> => {
  const row = await deps.store.read.get<HeadRow>(
    'SELECT payload, sha256 FROM plan_head WHERE id = 1',
  );
  return new Plan(deps, options, row && (await restore(deps.store.read, row)));
};

const restore = async (read: Database, row: HeadRow): Promise<Applied | undefined> => {
  const parsed = v.safeParse(planHead, JSON.parse(row.payload));
  if (!parsed.success) return undefined;
  const head = parsed.output;
  const rows = await read.all<{ sha256: string; content: string }>(
    'SELECT sha256, content FROM plan_documents',
  );
  const contents = new Map(rows.map(({ sha256, content }) => [sha256, content]));
  const held = new Map<string, Held>();
  for (const reference of head.documents) {
    const content = contents.get(reference.sha256);
    if (content === undefined) return undefined;
    try {
      held.set(reference.sha256, readDocument(Buffer.from(content), reference));
    } catch {
      return undefined;
    }
  }
  const view = viewOf(
    head,
    [...held.values()].filter((document) => document !== null),
  );
  return { view, sha256: row.sha256, held };
};

/** A document of a kind that is not known here was hashed like the others; what is in it is for a newer program. */
const readDocument = (content: Uint8Array, reference: DocumentReference): Held =>
  isKnownKind(reference.kind) ? readPlanDocument(content, reference) : null;

const appliedOutcome = ({ generation, revision }: PlanHead): PlanOutcome => ({
  kind: 'applied',
  generation,
  revision,
});

const sha256Of = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');
