/** Campaigns and executions as the API shows them, and campaigns as the plan's documents have them. */
import {
  type Campaign,
  CampaignState,
  type Execution,
  ExecutionStatus,
  type ExecutionStep,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { CampaignTarget } from '@holdfast/protos/link/campaign-document';
import type { ExecutionStatus as StatusName } from '@holdfast/protos/link/execution-status';
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import { deviceName, siteName } from '../api/resource-name.js';
import { firmwareName } from '../firmware/firmware-service.js';
import { groupName } from '../groups/group-records.js';
import { optionalDate } from '../sites/site-messages.js';
import { gatesOf, type PhaseRow, phaseBodiesOf } from './campaign-gates.js';
import { phaseMessage, progressMessage } from './campaign-phases.js';
import { policyMessage } from './campaign-policy.js';
import { type CampaignRow, campaignName, type ExecutionRow } from './campaign-records.js';
import {
  allowsOlderOfRow,
  documentOfRow,
  imagesOfRow,
  policyOfRow,
  targetOfRow,
  targetSitesOf,
} from './campaign-row.js';
import type { ExecutionStepRow } from './execution-steps.js';

const states: Readonly<Record<CampaignRow['state'], CampaignState>> = {
  draft: CampaignState.CAMPAIGN_STATE_DRAFT,
  scheduled: CampaignState.CAMPAIGN_STATE_SCHEDULED,
  running: CampaignState.CAMPAIGN_STATE_RUNNING,
  paused: CampaignState.CAMPAIGN_STATE_PAUSED,
  cancelling: CampaignState.CAMPAIGN_STATE_CANCELLING,
  cancelled: CampaignState.CAMPAIGN_STATE_CANCELLED,
  completed: CampaignState.CAMPAIGN_STATE_COMPLETED,
};

const statuses: Readonly<Record<StatusName, ExecutionStatus>> = {
  queued: ExecutionStatus.EXECUTION_STATUS_QUEUED,
  offered: ExecutionStatus.EXECUTION_STATUS_OFFERED,
  downloading: ExecutionStatus.EXECUTION_STATUS_DOWNLOADING,
  verifying: ExecutionStatus.EXECUTION_STATUS_VERIFYING,
  installing: ExecutionStatus.EXECUTION_STATUS_INSTALLING,
  in_progress: ExecutionStatus.EXECUTION_STATUS_IN_PROGRESS,
  rebooting: ExecutionStatus.EXECUTION_STATUS_REBOOTING,
  confirming: ExecutionStatus.EXECUTION_STATUS_CONFIRMING,
  succeeded: ExecutionStatus.EXECUTION_STATUS_SUCCEEDED,
  unproven: ExecutionStatus.EXECUTION_STATUS_UNPROVEN,
  failed: ExecutionStatus.EXECUTION_STATUS_FAILED,
  rolled_back: ExecutionStatus.EXECUTION_STATUS_ROLLED_BACK,
  cancelling: ExecutionStatus.EXECUTION_STATUS_CANCELLING,
  cancelled: ExecutionStatus.EXECUTION_STATUS_CANCELLED,
  superseded: ExecutionStatus.EXECUTION_STATUS_SUPERSEDED,
};

const targetMessage = (row: CampaignRow): Campaign['target'] => {
  const target = targetOfRow(row);
  return {
    sites: targetSitesOf(row).map(siteName),
    deviceIds: target.device_ids,
    model: target.models.length === 1 ? (target.models[0] ?? '') : '',
    models: target.models,
    currentVersions: target.current_versions,
    groups: target.groups.map(groupName),
    attributes: target.attributes,
    versionRange: target.version_range,
    lateJoiners: target.late_joiners,
  };
};

/** `phases` are those of the campaign, in order. */
export const campaignMessage = (row: CampaignRow, phases: readonly PhaseRow[]): Campaign => {
  const images = imagesOfRow(row);
  const gates = gatesOf(row, phases);
  const document = documentOfRow(row);
  return {
    name: campaignName(row.campaign_id),
    displayName: row.display_name,
    firmware: images[0] === undefined ? '' : firmwareName(images[0]),
    target: targetMessage(row),
    policy: policyMessage(policyOfRow(row)),
    state: states[row.state],
    progress: progressMessage(row),
    createTime: new Date(row.created_at),
    startTime: optionalDate(row.started_at),
    endTime: optionalDate(row.ended_at),
    etag: String(row.version),
    images: images.map(firmwareName),
    document: document ?? undefined,
    phases: gates.map((gate) => phaseMessage(gate, gates, row)),
    scheduledTime: optionalDate(row.scheduled_at),
    pauseReason: row.pause_reason,
    pausedBy: row.paused_by,
    pauseTime: optionalDate(row.paused_at),
    cancelReason: row.cancel_reason,
    creator: row.creator,
    rollbackOf: row.rollback_of === '' ? '' : campaignName(row.rollback_of),
    allowsOlder: allowsOlderOfRow(row).map(firmwareName),
    siteCount: row.site_count,
    reportingSiteCount: row.reporting_count,
    settledSiteCount: row.settled_count,
    pausedSiteCount: row.paused_count,
  };
};

/** The plan's document of a campaign that is started and not over, for the site whose target is given. */
export const campaignBodyOf = (
  row: CampaignRow,
  phases: readonly PhaseRow[],
  target: CampaignTarget,
): CampaignBody => ({
  state: row.state === 'cancelling' || row.state === 'paused' ? row.state : 'running',
  firmware: imagesOfRow(row),
  document: documentOfRow(row),
  started_at: row.started_at ?? row.scheduled_at ?? row.created_at,
  target,
  phases: phaseBodiesOf(gatesOf(row, phases)),
  policy: policyOfRow(row),
  allows_older: allowsOlderOfRow(row),
  resumes: row.resumes,
});

const executionName = (row: {
  readonly campaign_id: string;
  readonly site_id: string;
  readonly device_id: string;
}): string => `${campaignName(row.campaign_id)}/executions/${row.site_id}:${row.device_id}`;

export const executionMessage = (row: ExecutionRow): Execution => ({
  name: executionName(row),
  device: deviceName(row.site_id, row.device_id),
  status: statuses[row.status],
  attempt: row.attempt,
  progressPercent: Math.round(row.progress ?? 0),
  fromVersion: row.from_version ?? '',
  toVersion: row.to_version,
  error: row.error ?? '',
  updateTime: new Date(row.updated_at),
  phase: row.phase + 1,
  door: row.door ?? '',
  number: row.number ?? 0,
});

export const stepMessage = (row: ExecutionStepRow): ExecutionStep => ({
  execution: executionName(row),
  status: statuses[row.status],
  attempt: row.attempt,
  error: row.error ?? '',
  door: row.door ?? '',
  time: new Date(row.at),
  receiveTime: new Date(row.received_at),
  toVersion: row.to_version,
});
