/** Certificates that hold no longer. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface RevocationTables {
  revocations: {
    /** Subject key id of the issuer, and serial number without leading zeros; hexadecimal. */
    issuer_key_id: string;
    serial: string;
    /** Whose plan names it; null for every site's. */
    site_id: string | null;
    /** null for certificates of the root. */
    device_id: string | null;
    /** Of protos/semantics/revocation-reason. */
    reason: string;
    /** As `cloud:admin` or `site:operator`. */
    actor: string;
    revoked_at: number;
    /** When it would have expired; null where that is not known. */
    expires_at: number | null;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('revocations')
    .addColumn('issuer_key_id', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('site_id', 'text')
    .addColumn('device_id', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('revoked_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint')
    .addPrimaryKeyConstraint('revocations_key', ['issuer_key_id', 'serial']),
  schema.createIndex('revocations_by_site').on('revocations').columns(['site_id', 'device_id']),
];

export const revocationTables: PortableMigration = { name: 'revocations', steps };
