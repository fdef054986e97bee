/** Campaigns and executions as the API shows them, and campaigns as the plan's documents have them. */
import {
  Campaign,
  CampaignPolicy,
  CampaignState,
  CampaignTarget,
  Execution,
  ExecutionStatus,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { onePhase, plainCare } from '@holdfast/protos/link/campaign-document';
import type { ExecutionStatus as StatusName } from '@holdfast/protos/link/execution-status';
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import { deviceName, siteName } from '../api/resource-name.js';
import { firmwareName } from '../firmware/firmware-service.js';
import { optionalDate } from '../sites/site-messages.js';
import { type CampaignRow, type ExecutionRow, targetSitesOf } from './campaign-records.js';

const states: Readonly<Record<CampaignRow['state'], CampaignState>> = {
  draft: CampaignState.CAMPAIGN_STATE_DRAFT,
  running: CampaignState.CAMPAIGN_STATE_RUNNING,
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
  // No status of the API says it better.
  in_progress: ExecutionStatus.EXECUTION_STATUS_INSTALLING,
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

/** What a policy stands for where it says 0 (campaigns.proto). */
const defaultPolicy = {
  site_concurrency: 10,
  offer_timeout_ms: 86_400_000,
  download_timeout_ms: 3_600_000,
  install_timeout_ms: 1_800_000,
  confirm_timeout_ms: 600_000,
} as const;

export const policyBodyOf = (policy: CampaignPolicy | undefined): CampaignBody['policy'] => ({
  site_concurrency: policy?.siteConcurrency || defaultPolicy.site_concurrency,
  retries: policy?.retries ?? 0,
  offer_timeout_ms: (policy?.offerTimeoutSeconds ?? 0) * 1000 || defaultPolicy.offer_timeout_ms,
  download_timeout_ms:
    (policy?.downloadTimeoutSeconds ?? 0) * 1000 || defaultPolicy.download_timeout_ms,
  install_timeout_ms:
    (policy?.installTimeoutSeconds ?? 0) * 1000 || defaultPolicy.install_timeout_ms,
  confirm_timeout_ms:
    (policy?.confirmTimeoutSeconds ?? 0) * 1000 || defaultPolicy.confirm_timeout_ms,
  ...plainCare,
});

const policyOf = (body: CampaignBody['policy']): CampaignPolicy =>
  CampaignPolicy.fromPartial({
    siteConcurrency: body.site_concurrency,
    retries: body.retries,
    offerTimeoutSeconds: body.offer_timeout_ms / 1000,
    downloadTimeoutSeconds: body.download_timeout_ms / 1000,
    installTimeoutSeconds: body.install_timeout_ms / 1000,
    confirmTimeoutSeconds: body.confirm_timeout_ms / 1000,
  });

// What these columns hold was written by this program from the types named here.
const targetOfRow = (row: CampaignRow) => JSON.parse(row.target) as CampaignBody['target'];
const policyOfRow = (row: CampaignRow) => JSON.parse(row.policy) as CampaignBody['policy'];

export const campaignMessage = (row: CampaignRow): Campaign => {
  const target = targetOfRow(row);
  return Campaign.fromPartial({
    name: `campaigns/${row.campaign_id}`,
    displayName: row.display_name,
    firmware: firmwareName(row.firmware_id),
    images: [firmwareName(row.firmware_id)],
    target: CampaignTarget.fromPartial({
      sites: targetSitesOf(row).map(siteName),
      deviceIds: target.device_ids,
      model: target.models[0] ?? '',
      currentVersions: target.current_versions,
    }),
    policy: policyOf(policyOfRow(row)),
    state: states[row.state],
    progress: {
      total: BigInt(row.total),
      queued: BigInt(row.queued),
      inProgress: BigInt(row.in_progress),
      succeeded: BigInt(row.succeeded),
      unproven: BigInt(row.unproven),
      failed: BigInt(row.failed),
      rolledBack: BigInt(row.rolled_back),
      cancelled: BigInt(row.cancelled),
      superseded: BigInt(row.superseded),
    },
    createTime: new Date(row.created_at),
    startTime: optionalDate(row.started_at),
    endTime: optionalDate(row.ended_at),
    etag: String(row.version),
  });
};

/** The plan's document of a campaign that is running or being cancelled. */
export const campaignBodyOf = (row: CampaignRow): CampaignBody => ({
  state: row.state === 'cancelling' ? 'cancelling' : 'running',
  firmware: [row.firmware_id],
  document: null,
  started_at: row.started_at ?? row.created_at,
  target: targetOfRow(row),
  phases: [onePhase],
  policy: policyOfRow(row),
  allows_older: [],
  resumes: 0,
});

export const executionMessage = (row: ExecutionRow): Execution =>
  Execution.fromPartial({
    name: `campaigns/${row.campaign_id}/executions/${row.site_id}:${row.device_id}`,
    device: deviceName(row.site_id, row.device_id),
    status: statuses[row.status],
    attempt: row.attempt,
    progressPercent: Math.round(row.progress ?? 0),
    fromVersion: row.from_version ?? '',
    toVersion: row.to_version,
    error: row.error ?? '',
    updateTime: new Date(row.updated_at),
  });
