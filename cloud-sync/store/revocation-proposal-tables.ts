/** What gateways that own their sites no more say to be revoked, until somebody settles it. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface RevocationProposalTables {
  revocation_proposals: {
    site_id: string;
    /** Subject key id of the issuer, and serial number without leading zeros; hexadecimal. */
    issuer_key_id: string;
    serial: string;
    device_id: string;
    /** Of protos/semantics/revocation-reason. */
    reason: string;
    actor: string;
    revoked_at: number;
    expires_at: number | null;
    heard_at: number;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('revocation_proposals')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('issuer_key_id', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('revoked_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('heard_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('revocation_proposals_key', ['site_id', 'serial', 'issuer_key_id']),
];

export const revocationProposalTables: PortableMigration = { name: 'revocation-proposals', steps };
