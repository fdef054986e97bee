/** Campaigns as they are carried out here, and one execution for each device of each. */
export const updates = {
  name: '0005-updates',
  sql: `
CREATE TABLE campaign_runs (
  campaign TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  executions INTEGER NOT NULL,
  settled_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE executions (
  campaign TEXT NOT NULL REFERENCES campaign_runs (campaign),
  device TEXT NOT NULL,
  status TEXT NOT NULL,
  door TEXT,
  attempt INTEGER NOT NULL,
  site_failures INTEGER NOT NULL,
  from_version TEXT,
  to_version TEXT NOT NULL,
  boot_before TEXT,
  seen_boot TEXT,
  seen_version TEXT,
  claimed INTEGER NOT NULL,
  furthest TEXT NOT NULL,
  progress REAL,
  error TEXT,
  not_before INTEGER NOT NULL,
  deadline INTEGER,
  version INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (campaign, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX executions_of_device ON executions (device, updated_at);
`,
};
