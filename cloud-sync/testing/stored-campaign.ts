/** Rows of campaigns for tests that need no more of them than that they are there. */
import type { CampaignRow, ExecutionRow } from '../campaigns/campaign-records.js';
import { noCounts } from '../campaigns/progress.js';

/** A campaign that runs, of one phase, as it is stored. */
export const storedCampaign = (
  set: Partial<CampaignRow> & Pick<CampaignRow, 'campaign_id'>,
): CampaignRow => ({
  ...noCounts,
  display_name: set.campaign_id,
  firmware_id: 'm@2',
  images: '[]',
  document: null,
  target: '{}',
  policy: '{}',
  phases: '[]',
  target_sites: '[]',
  state: 'running',
  version: 1,
  created_at: 1,
  scheduled_at: null,
  started_at: 1,
  ended_at: null,
  cancel_reason: '',
  pause_reason: '',
  paused_by: '',
  paused_at: null,
  creator: 'cloud:admin',
  rollback_of: '',
  allows_older: '[]',
  resumes: 0,
  site_count: 0,
  reporting_count: 0,
  settled_count: 0,
  paused_count: 0,
  targeted_count: 0,
  ...set,
});

/** An execution that succeeded, as it is stored. */
export const storedExecution = (
  set: Partial<ExecutionRow> & Pick<ExecutionRow, 'campaign_id' | 'device_id'>,
): ExecutionRow => ({
  site_id: 'a',
  log: 'l',
  status: 'succeeded',
  attempt: 1,
  progress: null,
  from_version: null,
  to_version: '2',
  error: null,
  updated_at: 1,
  phase: 0,
  door: null,
  number: null,
  steps: 0,
  ...set,
});
