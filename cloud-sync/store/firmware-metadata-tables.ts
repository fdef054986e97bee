/** The metadata that firmware is signed with, what is trusted by it, and what it says of each image. Times are epoch ms. */
import type { Compilable, Generated, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface FirmwareMetadataTables {
  firmware_metadata: {
    /** As the plan's documents: `root.{version}`, or the name of the role. */
    id: string;
    role: string;
    version: number;
    signed: string;
    published_at: number;
    expires_at: number;
  };
  firmware_trust: {
    /** Always 1: there is one. */
    id: number;
    /** JSON, as provisioning/firmware/trusted-state has it. */
    state: string;
  };
}

/** Columns that firmware gained with it; all empty for images from before. */
export interface SignedFirmwareColumns {
  target: Generated<string>;
  /** Name of the role. */
  signed_by: Generated<string>;
  /** JSON, as provisioning/firmware/manifest has it. */
  manifest: Generated<string>;
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('firmware_metadata')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('signed', 'text', (c) => c.notNull())
    .addColumn('published_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull()),
  schema
    .createTable('firmware_trust')
    .addColumn('id', 'integer', (c) => c.primaryKey())
    .addColumn('state', 'text', (c) => c.notNull()),
  ...['target', 'signed_by', 'manifest'].map((column) =>
    schema.alterTable('firmware').addColumn(column, 'text', (c) => c.notNull().defaultTo('')),
  ),
];

export const firmwareMetadataTables: PortableMigration = { name: 'firmware-metadata', steps };
