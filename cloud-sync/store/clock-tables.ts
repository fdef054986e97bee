/** What the stamps of a site mean, that measured while it did not know the time. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface ClockTables {
  site_clocks: {
    site_id: string;
    /** A start of the site's machine. */
    boot: string;
    /** Epoch ms at the zero of its monotonic clock, as the site said last. */
    clock_offset: number;
    source: string;
    updated_at: number;
  };
}

/** What telemetry gained after its table was released: a stamp, beside a `ts` that is a guess then. */
export interface TelemetryStampColumns {
  stamp_boot: string | null;
  /** Milliseconds of the monotonic clock of that start. */
  stamp_mono: number | null;
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('site_clocks')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('boot', 'text', (c) => c.notNull())
    .addColumn('clock_offset', 'bigint', (c) => c.notNull())
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('site_clocks_key', ['site_id', 'boot']),
  schema.alterTable('telemetry').addColumn('stamp_boot', 'text'),
  schema.alterTable('telemetry').addColumn('stamp_mono', 'bigint'),
];

export const clockTables: PortableMigration = { name: 'clock', steps };
