/** Orders that have no number yet: they get one when they are first read for sending. */
import type { SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface WaitingOrdersTables {
  waiting_orders: {
    site_id: string;
    /** Counts up per site in the order of their making. */
    position: number;
    kind: 'shadow' | 'command' | 'resupplied';
    device_id: string;
    /** Of a shadow's order; empty for a command. */
    shadow: string;
    /** Canonical JSON. */
    body: string;
    created_at: number;
  };
}

export interface WaitingOrdersColumns {
  /** The last position that was given to an order that waits. */
  last_waiting: number;
}

export const waitingOrdersTables: PortableMigration = {
  name: 'waiting-orders',
  steps: (schema: SchemaModule) => [
    schema
      .createTable('waiting_orders')
      .addColumn('site_id', 'text', (c) =>
        c.notNull().references('sites.site_id').onDelete('cascade'),
      )
      .addColumn('position', 'bigint', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('device_id', 'text', (c) => c.notNull())
      .addColumn('shadow', 'text', (c) => c.notNull())
      .addColumn('body', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('waiting_orders_key', ['site_id', 'position']),
    schema
      .createIndex('waiting_orders_by_device')
      .on('waiting_orders')
      .columns(['site_id', 'device_id', 'shadow', 'position']),
    schema
      .createIndex('waiting_orders_by_kind')
      .on('waiting_orders')
      .columns(['site_id', 'kind', 'position']),
    schema
      .alterTable('order_lanes')
      .addColumn('last_waiting', 'bigint', (c) => c.notNull().defaultTo(0)),
  ],
};
