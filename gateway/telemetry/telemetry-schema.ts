/** The schema of telemetry.db: a file of its own, so that a bad page there costs no shadow. */
import type { Migration } from '@holdfast/provisioning/storage/store';
import { appendTable } from '@holdfast/provisioning/storage/write';
import { laneTable, laneTables } from '../link/sealed-lane.js';

export const telemetryMigrations: readonly Migration[] = [
  { version: 1, name: 'lane', sql: `${laneTables}${laneTable('telemetry')}` },
];

/** Points go in as appends: those of many callers become one INSERT. */
export const telemetryEntries = appendTable('journal_telemetry', ['at', 'kind', 'body']);
