/**
 * Writing to the journal of the site: an entry is an append in the very write of the change that it reports, so it is there if and
 * only if the change is. Its number is given by SQLite inside the transaction; a write that fails leaves no hole.
 *
 * Reading, sealing and sending is the link's (`link/sealed-lane.ts`), telemetry's lane is `telemetry/`.
 */
import type { EntryBody, EntryKind } from '@holdfast/protos/link/journal-entries';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { type Append, type AppendTable, appendTable } from '@holdfast/provisioning/storage/write';

/** The lanes of site.db. */
export type SiteLane = 'audit' | 'state';

const columns = ['at', 'kind', 'body'];
const tables: Readonly<Record<SiteLane, AppendTable>> = {
  audit: appendTable('journal_audit', columns),
  state: appendTable('journal_state', columns),
};

/** An entry for the write of its change. `at`: epoch ms by the site's clock. REQUEST_INVALID for a body that JSON cannot hold. */
export const journalEntry = <L extends SiteLane, K extends EntryKind<L>>(
  lane: L,
  kind: K,
  body: EntryBody<L, K>,
  at: number,
): Append => ({ into: tables[lane], row: [at, kind, canonicalJson(body)] });
