/** The lanes `audit` and `state` of the journal; `telemetry` has a database of its own. */
import { laneTable, laneTables } from '../../link/sealed-lane.js';

export const journal = {
  name: '0001-journal',
  sql: `${laneTables}${laneTable('audit')}${laneTable('state')}`,
};
