/** Who may enrol devices, and what became of enrolments. Times are epoch ms. The codes themselves are the registry's. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface EnrolmentTables {
  manufacturers: {
    manufacturer_id: string;
    certificates_pem: string;
    id_prefix: string;
    /** JSON array of text. */
    models: string;
    /** JSON array of site ids; empty means every site. */
    sites: string;
    created_at: number;
    /** When the first of its authorities expires. */
    expires_at: number;
    /** Counts up at each update; the etag. */
    version: number;
  };
}

/** What codes gained after their table was released. */
export interface ClaimCodeColumns {
  /** The only model it may enrol; null lets the device say. */
  model: string | null;
  /** What the device gets when it has enrolled: JSON object of text by text. */
  labels: string;
  serial_no: string;
  /** The device that used it. */
  used_by: string | null;
  /** It stays, so that an enrolment that comes to be known afterwards is seen for what it is. */
  deleted_at: number | null;
}

/** Likewise of devices. */
export interface DeviceEnrolmentColumns {
  /** When its enrolment was looked at and stood. */
  confirmed_at: number | null;
  /** Why its enrolment does not stand. */
  enrolment_problem: string | null;
  /** Whose certificate enrolled it; null for codes and serial lines. */
  manufacturer_id: string | null;
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema.alterTable('claim_codes').addColumn('model', 'text'),
  schema.alterTable('claim_codes').addColumn('labels', 'text', (c) => c.notNull().defaultTo('{}')),
  schema.alterTable('claim_codes').addColumn('serial_no', 'text', (c) => c.notNull().defaultTo('')),
  schema.alterTable('claim_codes').addColumn('used_by', 'text'),
  schema.alterTable('claim_codes').addColumn('deleted_at', 'bigint'),
  schema.createIndex('claim_codes_by_device').on('claim_codes').columns(['site_id', 'device_id']),
  schema.alterTable('devices').addColumn('confirmed_at', 'bigint'),
  schema.alterTable('devices').addColumn('enrolment_problem', 'text'),
  schema.alterTable('devices').addColumn('manufacturer_id', 'text'),
  schema.createIndex('devices_by_id').on('devices').column('device_id'),
  schema
    .createTable('manufacturers')
    .addColumn('manufacturer_id', 'text', (c) => c.primaryKey())
    .addColumn('certificates_pem', 'text', (c) => c.notNull())
    .addColumn('id_prefix', 'text', (c) => c.notNull())
    .addColumn('models', 'text', (c) => c.notNull())
    .addColumn('sites', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull()),
];

export const enrolmentTables: PortableMigration = { name: 'enrolment', steps };
