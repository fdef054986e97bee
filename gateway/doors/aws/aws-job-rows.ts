/**
 * What the jobs topics of AWS IoT have beside an execution of ours: a version that counts the device's updates and nothing else, its last
 * word, and its details as they were last set. All of one attempt: another number begins anew.
 */
import type { AwsJobUpdateRequest } from '@holdfast/protos/mqtt/aws-jobs-payload';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { SiteStore } from '../../store/site-store.js';
import type { ExecutionView } from '../../updates/device-executions.js';

export interface AwsWord {
  readonly versionNumber: number;
  /** What the device last made of it; null before. */
  readonly said: AwsJobUpdateRequest['status'] | null;
  readonly statusDetails: Readonly<Record<string, string>>;
}

/** Where they lie. */
export interface AwsJobRows extends Pick<SiteStore, 'commit'> {
  readonly read: Pick<SiteStore['read'], 'get'>;
}

interface Row {
  readonly number: number;
  readonly version: number;
  readonly status: string;
  readonly details: string | null;
}

const unsaid: AwsWord = { versionNumber: 1, said: null, statusDetails: {} };

type Named = Pick<ExecutionView, 'campaign' | 'device' | 'number'>;

export const wordOf = async (
  { read }: AwsJobRows,
  { campaign, device, number }: Named,
): Promise<AwsWord> => {
  const row = await read.get<Row>(
    'SELECT number, version, status, details FROM aws_executions WHERE campaign = ? AND device = ?',
    [campaign.id, device],
  );
  if (row?.number !== number) return unsaid;
  return {
    versionNumber: row.version,
    // Only this file writes these columns.
    said: row.status as AwsWord['said'],
    statusDetails:
      row.details === null ? {} : (JSON.parse(row.details) as AwsWord['statusDetails']),
  };
};

/** Nothing when the execution was forgotten meanwhile. */
export const saveWord = ({ campaign, device, number }: Named, word: AwsWord): Statement => ({
  sql: `INSERT INTO aws_executions (campaign, device, number, version, status, details)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6
        WHERE EXISTS (SELECT 1 FROM executions WHERE campaign = ?1 AND device = ?2)
        ON CONFLICT (campaign, device) DO UPDATE SET
          number = excluded.number, version = excluded.version,
          status = excluded.status, details = excluded.details`,
  params: [
    ...[campaign.id, device, number, word.versionNumber],
    ...[word.said, JSON.stringify(word.statusDetails)],
  ],
});

/** What a device was last told: the names of all that is pending, and of the first of it; empty when there is nothing. */
export interface AwsTold {
  readonly list: string;
  readonly head: string;
}

export const nothingTold: AwsTold = { list: '', head: '' };

export const toldOf = async ({ read }: AwsJobRows, device: string): Promise<AwsTold> =>
  (await read.get<{ list: string; head: string }>(
    'SELECT list, head FROM aws_told WHERE device = ?',
    [device],
  )) ?? nothingTold;

export const saveTold = (device: string, { list, head }: AwsTold): Statement =>
  list === '' && head === ''
    ? { sql: 'DELETE FROM aws_told WHERE device = ?', params: [device] }
    : {
        sql: 'INSERT OR REPLACE INTO aws_told (device, list, head) VALUES (?, ?, ?)',
        params: [device, list, head],
      };
