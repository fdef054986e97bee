/** Every table of the control plane, as Kysely sees it. Each part declares its own beside the migration that makes them. */
import type { AuditTables } from './audit-tables.js';
import type { CampaignControlTables } from './campaign-control-tables.js';
import type { CampaignTables } from './campaign-tables.js';
import type { ClockTables } from './clock-tables.js';
import type { CommandTables } from './command-tables.js';
import type { DeltaTables } from './delta-tables.js';
import type { DeviceLifeTables } from './device-life-tables.js';
import type { EnrolmentTables } from './enrolment-tables.js';
import type { FirmwareMetadataTables } from './firmware-metadata-tables.js';
import type { GroupTables } from './group-tables.js';
import type { LinkTables } from './link-tables.js';
import type { PeopleTables } from './people-tables.js';
import type { RegistryTables } from './registry-tables.js';
import type { RetentionTables } from './retention-tables.js';
import type { RevocationProposalTables } from './revocation-proposal-tables.js';
import type { RevocationTables } from './revocation-tables.js';
import type { ShadowHistoryTables } from './shadow-history-tables.js';
import type { ShadowTables } from './shadow-tables.js';
import type { WaitingOrdersTables } from './waiting-orders-tables.js';

export interface Schema
  extends RegistryTables,
    LinkTables,
    PeopleTables,
    AuditTables,
    CampaignControlTables,
    CampaignTables,
    ClockTables,
    CommandTables,
    DeltaTables,
    DeviceLifeTables,
    EnrolmentTables,
    FirmwareMetadataTables,
    GroupTables,
    RetentionTables,
    RevocationProposalTables,
    RevocationTables,
    ShadowHistoryTables,
    ShadowTables,
    WaitingOrdersTables {}
