/** What campaigns have since they have phases: several images or a document, counts by phase and site, gates, steps, emergency stops. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import { type Compilable, CompiledQuery, type SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

/** Executions by what they stand in. */
export interface CounterColumns {
  total: number;
  queued: number;
  in_progress: number;
  succeeded: number;
  unproven: number;
  failed: number;
  rolled_back: number;
  cancelled: number;
  superseded: number;
}

export interface CampaignControlColumns {
  /** JSON array of firmware ids, one a model; empty: `firmware_id` alone, or a plain job. */
  images: string;
  /** JSON object of a plain job. */
  document: string | null;
  /** JSON array of the phases as they were asked for; empty: all devices at once. */
  phases: string;
  /** Not before this time. */
  scheduled_at: number | null;
  pause_reason: string;
  paused_by: string;
  paused_at: number | null;
  creator: string;
  rollback_of: string;
  /** JSON array of firmware ids. */
  allows_older: string;
  /** How often it was resumed. */
  resumes: number;
  /** Of `campaign_sites`: all, and those that have reported, are through, have paused it by themselves. */
  site_count: number;
  reporting_count: number;
  settled_count: number;
  paused_count: number;
  /** Executions that its sites say they made. */
  targeted_count: number;
}

export interface CampaignSiteColumns {
  /** Executions that it says it made. */
  targeted: number;
  /** It has said how many executions it made. */
  reporting: number;
  /** The phase it has begun last, from 1; 0 before the first. */
  phase: number;
  pause_reason: string;
  /** Empty while it has not paused by itself. */
  paused_by: string;
  paused_at: number | null;
  /** What it waits for, in its words. */
  waits_for: string;
}

export interface ExecutionColumns {
  /** From 0. */
  phase: number;
  door: string | null;
  number: number | null;
  /** How many steps were noted. */
  steps: number;
}

export interface CampaignControlTables {
  /** What became of each phase, and its executions everywhere. */
  campaign_phases: CounterColumns & {
    campaign_id: string;
    /** From 0. */
    phase: number;
    approved_by: string;
    approved_at: number | null;
    released_by: string;
    released_at: number | null;
    /** When the fleet's numbers let the phase after it begin. */
    passed_at: number | null;
    /** Sites that have begun it. */
    entered_count: number;
    /** What was over and had failed when the campaign was resumed last: it is not held against it again. */
    forgiven_over: number;
    forgiven_failed: number;
  };
  /** Executions of a phase at a site. */
  campaign_counts: CounterColumns & { campaign_id: string; site_id: string; phase: number };
  /** The devices that a campaign names or was resolved to, by site; those that were not known anywhere have no site. */
  campaign_devices: { campaign_id: string; site_id: string; device_id: string };
  execution_steps: {
    campaign_id: string;
    site_id: string;
    device_id: string;
    /** Counts up in the order in which they were heard. */
    step: number;
    status: ExecutionStatus;
    attempt: number;
    to_version: string;
    error: string | null;
    door: string | null;
    /** By the site's clock. */
    at: number;
    received_at: number;
  };
  emergency_stops: {
    /** `-` is the whole fleet. */
    site_id: string;
    /** Made at the site. */
    is_local: number;
    reason: string;
    actor: string;
    at: number;
  };
}

const counters = [
  'total',
  'queued',
  'in_progress',
  'succeeded',
  'unproven',
  'failed',
  'rolled_back',
  'cancelled',
  'superseded',
] as const;

const text = { type: 'text', initial: '' } as const;
const number = { type: 'bigint', initial: 0 } as const;
const added = [
  ['campaigns', 'images', { type: 'text', initial: '[]' }],
  ['campaigns', 'document', { type: 'text' }],
  ['campaigns', 'phases', { type: 'text', initial: '[]' }],
  ['campaigns', 'scheduled_at', { type: 'bigint' }],
  ['campaigns', 'pause_reason', text],
  ['campaigns', 'paused_by', text],
  ['campaigns', 'paused_at', { type: 'bigint' }],
  ['campaigns', 'creator', text],
  ['campaigns', 'rollback_of', text],
  ['campaigns', 'allows_older', { type: 'text', initial: '[]' }],
  ['campaigns', 'resumes', number],
  ['campaigns', 'site_count', number],
  ['campaigns', 'reporting_count', number],
  ['campaigns', 'settled_count', number],
  ['campaigns', 'paused_count', number],
  ['campaign_sites', 'reporting', number],
  ['campaign_sites', 'phase', number],
  ['campaign_sites', 'pause_reason', text],
  ['campaign_sites', 'paused_by', text],
  ['campaign_sites', 'paused_at', { type: 'bigint' }],
  ['campaign_sites', 'waits_for', text],
  ['executions', 'phase', number],
  ['executions', 'door', { type: 'text' }],
  ['executions', 'number', { type: 'bigint' }],
  ['executions', 'steps', number],
] as const;

/** What was counted before there were phases was all in one. */
const sums = [
  'count(*)',
  "sum(case when status = 'queued' then 1 else 0 end)",
  "sum(case when status in ('queued', 'succeeded', 'unproven', 'failed', 'rolled_back', 'cancelled', 'superseded') then 0 else 1 end)",
  ...counters.slice(3).map((status) => `sum(case when status = '${status}' then 1 else 0 end)`),
].join(', ');

const statement = (sql: string): Compilable => ({ compile: () => CompiledQuery.raw(sql) });

const createCounted = (schema: SchemaModule, table: string) => {
  let step = schema.createTable(table);
  for (const counter of counters) {
    step = step.addColumn(counter, 'bigint', (c) => c.notNull().defaultTo(0));
  }
  return step.addColumn('campaign_id', 'text', (c) =>
    c.notNull().references('campaigns.campaign_id'),
  );
};

const steps = (schema: SchemaModule): Compilable[] => [
  ...added.map(([table, column, as]) =>
    schema
      .alterTable(table)
      .addColumn(column, as.type, (c) => ('initial' in as ? c.notNull().defaultTo(as.initial) : c)),
  ),
  createCounted(schema, 'campaign_phases')
    .addColumn('phase', 'bigint', (c) => c.notNull())
    .addColumn('approved_by', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('approved_at', 'bigint')
    .addColumn('released_by', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('released_at', 'bigint')
    .addColumn('passed_at', 'bigint')
    .addColumn('entered_count', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('forgiven_over', 'bigint', (c) => c.notNull().defaultTo(0))
    .addColumn('forgiven_failed', 'bigint', (c) => c.notNull().defaultTo(0))
    .addPrimaryKeyConstraint('campaign_phases_key', ['campaign_id', 'phase']),
  createCounted(schema, 'campaign_counts')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('phase', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('campaign_counts_key', ['campaign_id', 'site_id', 'phase']),
  schema
    .createTable('campaign_devices')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('campaigns.campaign_id'))
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('campaign_devices_key', ['campaign_id', 'site_id', 'device_id']),
  schema
    .createTable('execution_steps')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('campaigns.campaign_id'))
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('step', 'bigint', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('attempt', 'bigint', (c) => c.notNull())
    .addColumn('to_version', 'text', (c) => c.notNull())
    .addColumn('error', 'text')
    .addColumn('door', 'text')
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('received_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('execution_steps_key', [
      'campaign_id',
      'site_id',
      'device_id',
      'step',
    ]),
  schema.createIndex('executions_by_device').on('executions').columns(['site_id', 'device_id']),
  schema
    .createTable('emergency_stops')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('is_local', 'integer', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('emergency_stops_key', ['site_id', 'is_local']),
  statement(
    `insert into campaign_counts (${counters.join(', ')}, campaign_id, site_id, phase) select ${sums}, campaign_id, site_id, 0 from executions group by campaign_id, site_id`,
  ),
  statement(
    `insert into campaign_phases (${counters.join(', ')}, campaign_id, phase) select ${counters.join(', ')}, campaign_id, 0 from campaigns`,
  ),
  statement(
    "update campaign_sites set phase = 1, reporting = case when settled = 1 or exists (select 1 from executions where executions.campaign_id = campaign_sites.campaign_id and executions.site_id = campaign_sites.site_id) then 1 else 0 end where campaign_id in (select campaign_id from campaigns where state <> 'draft')",
  ),
  ...(['site_count', 'reporting_count', 'settled_count'] as const).map((column) =>
    statement(
      `update campaigns set ${column} = (select count(*) from campaign_sites where campaign_sites.campaign_id = campaigns.campaign_id${column === 'site_count' ? '' : ` and ${column.replace('_count', '')} = 1`})`,
    ),
  ),
  statement(
    'update campaign_phases set entered_count = (select count(*) from campaign_sites where campaign_sites.campaign_id = campaign_phases.campaign_id)',
  ),
];

export const campaignControlTables: PortableMigration = { name: 'campaign-control', steps };

/** How many executions the sites say there are, so that nothing is judged by the first few that were heard of. */
export const campaignTargetedColumns: PortableMigration = {
  name: 'campaign-targeted',
  steps: (schema) => [
    schema
      .alterTable('campaigns')
      .addColumn('targeted_count', 'bigint', (c) => c.notNull().defaultTo(0)),
    schema
      .alterTable('campaign_sites')
      .addColumn('targeted', 'bigint', (c) => c.notNull().defaultTo(0)),
  ],
};
