/** Deltas of firmware images, each for one image and one that devices may have. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface DeltaTables {
  firmware_deltas: {
    firmware_id: string;
    /** Of the image it is applied to; the digest of nothing where it is the image, compressed. */
    from_sha256: string;
    from_version: string;
    /** Empty where one was tried and is not worth its bytes. */
    format: string;
    /** Of its file in the blob store. */
    sha256: string;
    size_bytes: number;
    created_at: number;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('firmware_deltas')
    .addColumn('firmware_id', 'text', (c) =>
      c.notNull().references('firmware.firmware_id').onDelete('cascade'),
    )
    .addColumn('from_sha256', 'text', (c) => c.notNull())
    .addColumn('from_version', 'text', (c) => c.notNull())
    .addColumn('format', 'text', (c) => c.notNull())
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('size_bytes', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('firmware_deltas_key', ['firmware_id', 'from_sha256']),
];

export const deltaTables: PortableMigration = { name: 'deltas', steps };
