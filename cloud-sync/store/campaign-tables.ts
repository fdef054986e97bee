/** Firmware, campaigns with their counters, and every device's run of one. Times are epoch ms. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { Compilable, SchemaModule } from 'kysely';
import type {
  CampaignControlColumns,
  CampaignSiteColumns,
  CounterColumns,
  ExecutionColumns,
} from './campaign-control-tables.js';
import type { SignedFirmwareColumns } from './firmware-metadata-tables.js';
import type { PortableMigration } from './migration.js';

export interface CampaignTables {
  firmware: SignedFirmwareColumns & {
    /** `{model}@{version}`. */
    firmware_id: string;
    model: string;
    version: string;
    size_bytes: number;
    sha256: string;
    file_name: string;
    created_at: number;
  };
  campaigns: CampaignControlColumns &
    CounterColumns & {
      campaign_id: string;
      display_name: string;
      /** The first of its images, there as long as the campaign is not over; empty for a plain job. */
      firmware_id: string;
      /** JSON: the target and the policy, as the plan's campaign document has them. */
      target: string;
      policy: string;
      /** JSON array of site ids; empty means every site. */
      target_sites: string;
      state:
        | 'draft'
        | 'scheduled'
        | 'running'
        | 'paused'
        | 'cancelling'
        | 'cancelled'
        | 'completed';
      /** Counts up at each change but of the counters; the etag. */
      version: number;
      created_at: number;
      started_at: number | null;
      ended_at: number | null;
      cancel_reason: string;
    };
  /** The sites that a started campaign is in the plan of, and whether each has said that it is through. */
  campaign_sites: CampaignSiteColumns & { campaign_id: string; site_id: string; settled: number };
  executions: ExecutionColumns & {
    campaign_id: string;
    site_id: string;
    device_id: string;
    /** The journal's log that said this last. */
    log: string;
    status: ExecutionStatus;
    attempt: number;
    progress: number | null;
    from_version: string | null;
    to_version: string;
    error: string | null;
    updated_at: number;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('firmware')
    .addColumn('firmware_id', 'text', (c) => c.primaryKey())
    .addColumn('model', 'text', (c) => c.notNull())
    .addColumn('version', 'text', (c) => c.notNull())
    .addColumn('size_bytes', 'bigint', (c) => c.notNull())
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('file_name', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull()),
  schema.createIndex('firmware_by_sha256').on('firmware').column('sha256'),
  schema
    .createTable('campaigns')
    .addColumn('campaign_id', 'text', (c) => c.primaryKey())
    .addColumn('display_name', 'text', (c) => c.notNull())
    .addColumn('firmware_id', 'text', (c) => c.notNull())
    .addColumn('target', 'text', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('target_sites', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('started_at', 'bigint')
    .addColumn('ended_at', 'bigint')
    .addColumn('cancel_reason', 'text', (c) => c.notNull())
    .addColumn('total', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('queued', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('in_progress', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('succeeded', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('unproven', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('failed', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('rolled_back', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('cancelled', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('superseded', 'bigint', (c) => c.notNull().defaultTo(0)),
  schema.createIndex('campaigns_by_firmware').on('campaigns').columns(['firmware_id', 'state']),
  schema.createIndex('campaigns_by_state').on('campaigns').column('state'),
  schema
    .createTable('campaign_sites')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('campaigns.campaign_id'))
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('settled', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('campaign_sites_key', ['campaign_id', 'site_id']),
  schema.createIndex('campaign_sites_by_site').on('campaign_sites').column('site_id'),
  schema
    .createTable('executions')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('campaigns.campaign_id'))
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('log', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('attempt', 'bigint', (c) => c.notNull())
    .addColumn('progress', 'double precision')
    .addColumn('from_version', 'text')
    .addColumn('to_version', 'text', (c) => c.notNull())
    .addColumn('error', 'text')
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('executions_key', ['campaign_id', 'site_id', 'device_id']),
];

export const campaignTables: PortableMigration = { name: 'campaigns', steps };
