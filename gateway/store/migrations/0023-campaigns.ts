/** Campaigns in phases, with several images; stops of every update; what the firmware of the site is trusted by. */
export const campaigns = {
  name: '0023-campaigns',
  sql: `
ALTER TABLE campaign_runs ADD COLUMN phase INTEGER NOT NULL DEFAULT -1;
ALTER TABLE campaign_runs ADD COLUMN phase_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign_runs ADD COLUMN paused TEXT;
ALTER TABLE campaign_runs ADD COLUMN forgiven TEXT NOT NULL DEFAULT '[]';
ALTER TABLE campaign_runs ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign_runs ADD COLUMN targeted_at INTEGER;
-- What was told last of why it offers nothing.
ALTER TABLE campaign_runs ADD COLUMN waits TEXT;
ALTER TABLE executions ADD COLUMN firmware TEXT;
ALTER TABLE executions ADD COLUMN offers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN details TEXT;
ALTER TABLE executions ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN started_at INTEGER;
UPDATE executions SET queued_at = updated_at, offers = attempt + site_failures, firmware = (
  SELECT body ->> '$.body.firmware' FROM campaign_runs r WHERE r.campaign = executions.campaign
);
UPDATE campaign_runs SET body = json_object(
  'body', json_set(
    body -> '$.body',
    '$.firmware', json_array(body ->> '$.body.firmware'),
    '$.document', json('null'),
    '$.target', json_object(
      'models', json_array(body ->> '$.body.target.model'),
      'device_ids', body -> '$.body.target.device_ids',
      'groups', json('[]'),
      'attributes', json('{}'),
      'current_versions', body -> '$.body.target.current_versions',
      'version_range', '',
      'late_joiners', json('true')
    ),
    '$.phases', json('[{"percent":100,"duration_ms":0,"success_percent":0,"error_percent":100,"error_min_count":0,"judged_by":"site","approval":false,"released":true}]'),
    '$.policy.disruption', json('[]'),
    '$.policy.max_plan_age_ms', 259200000,
    '$.policy.unproven_counts', 'failure',
    '$.policy.wan_bytes_per_s', json('null'),
    '$.allows_older', json('[]'),
    '$.resumes', 0
  ),
  'images', json_array(body -> '$.firmware')
);
CREATE TABLE emergency_stop (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  stopped_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  stopped_at INTEGER NOT NULL
) STRICT;
CREATE TABLE firmware_trust (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  trusted TEXT NOT NULL
) STRICT;
CREATE TABLE firmware_refusals (
  firmware TEXT PRIMARY KEY,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  refused_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE security_counters (
  device TEXT PRIMARY KEY,
  counter INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
