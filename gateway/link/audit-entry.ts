/** How plan and orders put an entry of the audit lane into a write of theirs. */
import type { EntryBody, EntryKind } from '@holdfast/protos/link/journal-entries';
import type { Append, Statement } from '@holdfast/provisioning/storage/write';

export type AuditEntry = <K extends EntryKind<'audit'>>(
  kind: K,
  body: EntryBody<'audit', K>,
) => Append | Statement;
