/** The people who may sign in at the gateways of sites. Times are epoch ms. */
import type { Role } from '@holdfast/protos/local/people';
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface PeopleTables {
  site_users: {
    site_id: string;
    user_id: string;
    role: Role;
    /** As `provisioning/pki/password-hash` writes it. */
    password_hash: string;
    /** Counts up at each update; the etag. */
    version: number;
    created_at: number;
    updated_at: number;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('site_users')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('password_hash', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('site_users_key', ['site_id', 'user_id']),
];

export const peopleTables: PortableMigration = { name: 'people', steps };
