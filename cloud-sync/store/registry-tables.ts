/** The fleet, who may ask, its sites with their gateways and certificates, and the devices. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { ClaimCodeColumns, DeviceEnrolmentColumns } from './enrolment-tables.js';
import type { PortableMigration } from './migration.js';

export interface RegistryTables {
  fleet: {
    /** Always 1: there is one. */
    id: number;
    name: string;
    root_sha256: string;
    created_at: number;
  };
  /** Who may use the API; only the SHA-256 of a token. */
  tokens: { hash: string; name: string; created_at: number };
  sites: {
    site_id: string;
    display_name: string;
    /** Counts up at each update; the etag. */
    version: number;
    created_at: number;
    updated_at: number;
    device_count: number;
    /** 0 before the first gateway. */
    epoch: number;
    gateway_id: string | null;
    gateway_version: string | null;
    gateway_enrolled_at: number | null;
    last_contact_at: number | null;
    clone_suspected: number;
  };
  gateway_codes: {
    /** Hash of the secret and the site. */
    hash: string;
    site_id: string;
    replaces: number;
    created_at: number;
    expires_at: number;
    /** What was enrolled with it: hash of both CSRs, and the gateway, whose certificates a repeated request gets again. */
    used_csrs: string | null;
    used_gateway: string | null;
  };
  /** Every certificate the root issued for a site. */
  certificates: {
    serial: string;
    site_id: string;
    role: 'gateway' | 'site_ca';
    gateway_id: string;
    epoch: number;
    pem: string;
    issued_at: number;
    expires_at: number;
    revoked_at: number | null;
  };
  devices: DeviceEnrolmentColumns & {
    site_id: string;
    device_id: string;
    model: string;
    serial_no: string;
    firmware_version: string | null;
    online: number;
    last_seen_at: number | null;
    enrolled_at: number | null;
    door: string;
    /** JSON object of text by text. */
    labels: string;
    certificate_serial: string | null;
    /** Counts up at each update of the labels; the etag. */
    version: number;
  };
  claim_codes: ClaimCodeColumns & {
    hash: string;
    site_id: string;
    /** The only id it may enrol; null lets the device name itself. */
    device_id: string | null;
    created_at: number;
    expires_at: number;
    used_at: number | null;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('fleet')
    .addColumn('id', 'integer', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('root_sha256', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull()),
  schema
    .createTable('tokens')
    .addColumn('hash', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull()),
  schema
    .createTable('sites')
    .addColumn('site_id', 'text', (c) => c.primaryKey())
    .addColumn('display_name', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('device_count', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('epoch', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('gateway_id', 'text')
    .addColumn('gateway_version', 'text')
    .addColumn('gateway_enrolled_at', 'bigint')
    .addColumn('last_contact_at', 'bigint')
    .addColumn('clone_suspected', 'integer', (c) => c.notNull().defaultTo(0)),
  schema
    .createTable('gateway_codes')
    .addColumn('hash', 'text', (c) => c.primaryKey())
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('replaces', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('used_csrs', 'text')
    .addColumn('used_gateway', 'text'),
  schema
    .createTable('certificates')
    .addColumn('serial', 'text', (c) => c.primaryKey())
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('gateway_id', 'text', (c) => c.notNull())
    .addColumn('epoch', 'bigint', (c) => c.notNull())
    .addColumn('pem', 'text', (c) => c.notNull())
    .addColumn('issued_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('revoked_at', 'bigint'),
  schema
    .createIndex('certificates_by_gateway')
    .on('certificates')
    .columns(['site_id', 'gateway_id', 'role']),
  schema
    .createTable('devices')
    .addColumn('site_id', 'text', (c) => c.notNull().references('sites.site_id'))
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('model', 'text', (c) => c.notNull())
    .addColumn('serial_no', 'text', (c) => c.notNull())
    .addColumn('firmware_version', 'text')
    .addColumn('online', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'bigint')
    .addColumn('enrolled_at', 'bigint')
    .addColumn('door', 'text', (c) => c.notNull())
    .addColumn('labels', 'text', (c) => c.notNull())
    .addColumn('certificate_serial', 'text')
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('devices_key', ['site_id', 'device_id']),
  schema
    .createTable('claim_codes')
    .addColumn('hash', 'text', (c) => c.primaryKey())
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('device_id', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('used_at', 'bigint'),
  schema.createIndex('claim_codes_by_site').on('claim_codes').columns(['site_id', 'expires_at']),
];

export const registryTables: PortableMigration = { name: 'registry', steps };
