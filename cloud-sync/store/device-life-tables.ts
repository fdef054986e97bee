/** Where the lives of devices stand, the certificates that sites issued to them, and the root's revocation list. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface DeviceLifeTables {
  device_lives: {
    site_id: string;
    device_id: string;
    /** As the site said last; of protos/semantics/lifecycle. */
    state: string;
    since: number;
    reason: string;
    actor: string;
    /** The latest decision of a person that is known, made here or at the site; '' before the first. */
    action: string;
    decided_reason: string;
    decided_by: string;
    decided_wall: number;
    decided_counter: number;
    /** 1 while the site has not taken the decision up. */
    is_pending: number;
    /** 1 from its deletion here until the site has forgotten it; 2 from then on, `since` when: what is older is of the one that is gone. */
    is_removed: number;
  };
  device_certificates: {
    /** Subject key id of the issuer, and serial number; lower-case hexadecimal. */
    issuer_key_id: string;
    serial: string;
    site_id: string;
    device_id: string;
    issued_at: number;
    expires_at: number | null;
  };
  root_crl: {
    /** Always 1: there is one. */
    id: number;
    number: number;
    signed_at: number;
    pem: string;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('device_lives')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('since', 'bigint', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('decided_reason', 'text', (c) => c.notNull())
    .addColumn('decided_by', 'text', (c) => c.notNull())
    .addColumn('decided_wall', 'bigint', (c) => c.notNull())
    .addColumn('decided_counter', 'bigint', (c) => c.notNull())
    .addColumn('is_pending', 'integer', (c) => c.notNull())
    .addColumn('is_removed', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('device_lives_key', ['site_id', 'device_id']),
  schema
    .createTable('device_certificates')
    .addColumn('issuer_key_id', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('issued_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint')
    .addPrimaryKeyConstraint('device_certificates_key', ['issuer_key_id', 'serial']),
  schema
    .createIndex('device_certificates_by_device')
    .on('device_certificates')
    .columns(['site_id', 'device_id', 'issued_at']),
  schema
    .createTable('root_crl')
    .addColumn('id', 'integer', (c) => c.primaryKey())
    .addColumn('number', 'bigint', (c) => c.notNull())
    .addColumn('signed_at', 'bigint', (c) => c.notNull())
    .addColumn('pem', 'text', (c) => c.notNull()),
];

export const deviceLifeTables: PortableMigration = { name: 'device-lives', steps };
