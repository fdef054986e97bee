/** What devices on the jobs topics of AWS IoT said of their executions, and what they were last told of the list of them. */
export const awsJobs = {
  name: '0025-aws-jobs',
  sql: `
CREATE TABLE aws_executions (
  campaign TEXT NOT NULL,
  device TEXT NOT NULL,
  number INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL,
  details TEXT,
  PRIMARY KEY (campaign, device),
  FOREIGN KEY (campaign, device) REFERENCES executions (campaign, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE aws_told (
  device TEXT PRIMARY KEY,
  list TEXT NOT NULL,
  head TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
