/** The model that a code made on site is for; null is any. `claims_used` also has manufacturers' certificates, by their SHA-256. */
export const claims = {
  name: '0012-claims',
  sql: `
ALTER TABLE claims_made ADD COLUMN model TEXT;
CREATE INDEX claims_made_by_end ON claims_made (expires_at);
`,
};
