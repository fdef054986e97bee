/** Every table of the control plane, as Kysely sees it. Each part declares its own beside the migration that makes them. */
import type { LinkTables } from './link-tables.js';
import type { RegistryTables } from './registry-tables.js';

export interface Schema extends RegistryTables, LinkTables {}
