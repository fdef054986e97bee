/** How conflicts of shadows ended, what changed in shadows, and how much of either had to go before its time. */
import { historySchema } from '../../shadows/shadow-history-rows.js';

export const shadowHistory = {
  name: '0019-shadow-history',
  sql: `
ALTER TABLE shadow_conflicts ADD COLUMN settled_at INTEGER;
ALTER TABLE shadow_conflicts ADD COLUMN settlement TEXT;
-- What its age is counted from: when it was settled, else when it was found; -1 as long as nobody knows the time.
ALTER TABLE shadow_conflicts ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
UPDATE shadow_conflicts SET since = detected_at;
CREATE INDEX shadow_conflicts_by_age ON shadow_conflicts (since, settled_at);
CREATE INDEX shadow_conflicts_in_order ON shadow_conflicts (detected_at);
CREATE INDEX shadow_conflicts_open ON shadow_conflicts (detected_at) WHERE settled_at IS NULL;
CREATE INDEX shadow_conflicts_settled ON shadow_conflicts (settled_at) WHERE settled_at IS NOT NULL;
${historySchema}`,
};
