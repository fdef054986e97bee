/** The schema's steps in the order in which they run. A released step is never edited or moved: a new one is added at the end. */
import { auditTables } from './audit-tables.js';
import { campaignControlTables, campaignTargetedColumns } from './campaign-control-tables.js';
import { campaignTables } from './campaign-tables.js';
import { clockTables } from './clock-tables.js';
import { commandTables } from './command-tables.js';
import { deltaTables } from './delta-tables.js';
import { deviceLifeTables } from './device-life-tables.js';
import { enrolmentTables } from './enrolment-tables.js';
import { firmwareMetadataTables } from './firmware-metadata-tables.js';
import { groupTables } from './group-tables.js';
import { linkTables } from './link-tables.js';
import type { PortableMigration } from './migration.js';
import { orderChain } from './order-chain.js';
import { peopleTables } from './people-tables.js';
import { registryTables } from './registry-tables.js';
import { retentionTables } from './retention-tables.js';
import { revocationProposalTables } from './revocation-proposal-tables.js';
import { revocationTables } from './revocation-tables.js';
import { shadowHistoryTables } from './shadow-history-tables.js';
import { shadowTables } from './shadow-tables.js';
import { waitingOrdersTables } from './waiting-orders-tables.js';

export const migrations: readonly PortableMigration[] = [
  registryTables,
  linkTables,
  campaignTables,
  commandTables,
  shadowTables,
  enrolmentTables,
  revocationTables,
  orderChain,
  peopleTables,
  deviceLifeTables,
  retentionTables,
  clockTables,
  shadowHistoryTables,
  revocationProposalTables,
  waitingOrdersTables,
  auditTables,
  deltaTables,
  firmwareMetadataTables,
  groupTables,
  campaignControlTables,
  campaignTargetedColumns,
];
