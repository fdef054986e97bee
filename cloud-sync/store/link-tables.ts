/** What travels between a site and here: its plan and the orders down, its journal up, and the telemetry that came in it. */
import type { Compilable, SchemaModule } from 'kysely';
import type { TelemetryStampColumns } from './clock-tables.js';
import type { PortableMigration } from './migration.js';
import type { WaitingOrdersColumns } from './waiting-orders-tables.js';

export interface LinkTables {
  plans: {
    site_id: string;
    generation: number;
    /** 0 before the first head. */
    revision: number;
    /** The head, a JWS; null before the first. */
    head: string | null;
    /** SHA-256 of what the head says but for its revision and times: a plan that would say the same is not published again. */
    content_sha256: string | null;
    expires_at: number;
    /** 1 while a change waits for a plan that holds it. */
    requested: number;
    applied_generation: number;
    applied_revision: number;
    refused_code: string | null;
    refused_message: string | null;
  };
  /** The live documents of a site's plan. */
  plan_documents: {
    site_id: string;
    kind: string;
    id: string;
    /** The plan's revision that brought this content. */
    revision: number;
    /** Of the whole document; and of its body alone, to see whether it changed. */
    sha256: string;
    body_sha256: string;
    /** Canonical JSON of {kind, id, revision, body}. */
    content: string;
  };
  /** The down lane of a site: where it stands. */
  order_lanes: {
    site_id: string;
    log: string;
    last_seq: number;
    acknowledged_seq: number;
    /** The hash chain at `last_seq` and at `acknowledged_seq`, hexadecimal. */
    last_chain: string;
    acknowledged_chain: string;
  } & WaitingOrdersColumns;
  /** Those that have their number: they have left, or may have. */
  orders: {
    site_id: string;
    seq: number;
    kind: string;
    /** JSON. */
    body: string;
    created_at: number;
    /** The hash chain with this order, hexadecimal. */
    chain: string;
  };
  /** How far each log of each lane is committed here. */
  lane_positions: {
    site_id: string;
    log: string;
    lane: string;
    seq: number;
    /** The hash chain at `seq`, hexadecimal. */
    chain: string;
    updated_at: number;
    /** Entries of kinds this program does not know, or whose body it cannot read; kept in `journal`. */
    unknown_entries: number;
  };
  /** The audit lane, and what could not be taken in from the others. */
  journal: {
    site_id: string;
    log: string;
    lane: string;
    seq: number;
    at: number;
    kind: string;
    /** JSON. */
    body: string;
    /** Empty, or why it had no effect. */
    problem: string;
  };
  telemetry: {
    site_id: string;
    device_id: string;
    /** Counts up per site in the order of arrival, which is the order of the site's commits. */
    position: number;
    /** What a point counts once by: boot and seq, or series and time. */
    point_key: string;
    series: string;
    ts: number;
    /** JSON. */
    value: string;
    boot: string | null;
    seq: number | null;
  } & TelemetryStampColumns;
  telemetry_positions: { site_id: string; last_position: number };
  telemetry_dropped: {
    site_id: string;
    log: string;
    from_seq: number;
    to_seq: number;
    points: number;
    reason: string;
    at: number;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('plans')
    .addColumn('site_id', 'text', (c) =>
      c.primaryKey().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('generation', 'bigint', (c) => c.notNull())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .addColumn('head', 'text')
    .addColumn('content_sha256', 'text')
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('requested', 'integer', (c) => c.notNull())
    .addColumn('applied_generation', 'bigint', (c) => c.notNull())
    .addColumn('applied_revision', 'bigint', (c) => c.notNull())
    .addColumn('refused_code', 'text')
    .addColumn('refused_message', 'text'),
  schema
    .createTable('plan_documents')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('body_sha256', 'text', (c) => c.notNull())
    .addColumn('content', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('plan_documents_key', ['site_id', 'kind', 'id']),
  schema
    .createTable('order_lanes')
    .addColumn('site_id', 'text', (c) =>
      c.primaryKey().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('log', 'text', (c) => c.notNull())
    .addColumn('last_seq', 'bigint', (c) => c.notNull())
    .addColumn('acknowledged_seq', 'bigint', (c) => c.notNull()),
  schema
    .createTable('orders')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('body', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('orders_key', ['site_id', 'seq']),
  schema
    .createTable('lane_positions')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('log', 'text', (c) => c.notNull())
    .addColumn('lane', 'text', (c) => c.notNull())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('chain', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('unknown_entries', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('lane_positions_key', ['site_id', 'lane', 'log']),
  schema
    .createTable('journal')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('log', 'text', (c) => c.notNull())
    .addColumn('lane', 'text', (c) => c.notNull())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('body', 'text', (c) => c.notNull())
    .addColumn('problem', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('journal_key', ['site_id', 'lane', 'log', 'seq']),
  schema
    .createTable('telemetry')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('position', 'bigint', (c) => c.notNull())
    .addColumn('point_key', 'text', (c) => c.notNull())
    .addColumn('series', 'text', (c) => c.notNull())
    .addColumn('ts', 'bigint', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addColumn('boot', 'text')
    .addColumn('seq', 'bigint')
    .addPrimaryKeyConstraint('telemetry_key', ['site_id', 'device_id', 'position'])
    .addUniqueConstraint('telemetry_once', ['site_id', 'device_id', 'point_key']),
  schema
    .createTable('telemetry_positions')
    .addColumn('site_id', 'text', (c) => c.primaryKey())
    .addColumn('last_position', 'bigint', (c) => c.notNull()),
  schema
    .createTable('telemetry_dropped')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('log', 'text', (c) => c.notNull())
    .addColumn('from_seq', 'bigint', (c) => c.notNull())
    .addColumn('to_seq', 'bigint', (c) => c.notNull())
    .addColumn('points', 'bigint', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('telemetry_dropped_key', ['site_id', 'log', 'to_seq']),
];

export const linkTables: PortableMigration = { name: 'link', steps };
