/** The hash chain of the orders. A site that is met with orders from before has another chain, and so gets a new log. */
import type { SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

const columns = [
  ['order_lanes', 'last_chain'],
  ['order_lanes', 'acknowledged_chain'],
  ['orders', 'chain'],
] as const;

export const orderChain: PortableMigration = {
  name: 'order-chain',
  steps: (schema: SchemaModule) =>
    columns.map(([table, column]) =>
      schema.alterTable(table).addColumn(column, 'text', (c) => c.notNull().defaultTo('')),
    ),
};
