/** `holdfast audit`: who did what, as a table or as a file for others. */
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AuditEntry } from '@holdfast/protos/gen/holdfast/v1/audit';
import { type Command, Option } from 'commander';
import { parseCount } from '../arguments.js';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, eachPage } from '../context.js';
import { csvLine } from '../csv.js';
import { parseTime } from '../duration.js';
import type { Column } from '../terminal.js';
import { eachStep, getCampaign } from './campaign/campaign-calls.js';
import { stepRowOf } from './campaign/campaign-rows.js';
import { idOf } from './sites.js';

interface FilterOptions {
  readonly campaign?: string;
  readonly site?: string;
  readonly action?: string;
  readonly since?: string;
  readonly until?: string;
}

interface Filter {
  readonly resource: string;
  readonly site: string;
  readonly action: string;
  readonly since: Date | undefined;
  readonly until: Date | undefined;
}

/** An entry, or the step of an execution, for people and for programs. */
export interface AuditRow {
  readonly number: number | null;
  readonly time: string;
  readonly record_time: string;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  readonly site: string;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export const addAuditCommands = (program: Command, context: () => CommandContext): void => {
  const audit = program.command('audit').description('who did what');
  const withFilter = (command: Command): Command =>
    command
      .option('--campaign <id>', 'only what was done to this campaign or job')
      .option('--site <id>', 'only what is about this site')
      .option('--action <name>', 'only this, as campaign.started; campaign. for all that begin so')
      .option('--since <time>', 'only from then on, as 2026-11-01')
      .option('--until <time>', 'only before then');

  withFilter(audit.command('list'))
    .description('the entries, the oldest first')
    .option('--last <n>', 'so many of the newest (50); 0 for all', parseCount('last'), 50)
    .action(async (options: FilterOptions & { last: number }) => {
      const { terminal, cloud, now } = context();
      const filter = filterOf(options, now());
      const rows: AuditRow[] = [];
      for await (const entry of eachEntry(await cloud(), filter)) {
        rows.push(rowOf(entry));
        if (options.last > 0 && rows.length > options.last) rows.shift();
      }
      terminal.table(rows, columns, 'Nothing was noted that fits');
    });

  withFilter(audit.command('export'))
    .description(
      'everything that fits, for others to read; of a campaign with all that its devices did',
    )
    .addOption(
      new Option('--format <format>', 'what is written').choices(['csv', 'jsonl']).default('csv'),
    )
    .option('--output <file>', 'where to; nothing is overwritten (default: standard output)')
    .action(async (options: FilterOptions & { format: 'csv' | 'jsonl'; output?: string }) => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      // Before anything is written: an unknown one leaves no file with a header alone behind.
      if (options.campaign !== undefined) await getCampaign(client, options.campaign);
      const rows =
        options.campaign === undefined
          ? eachRow(client, filterOf(options, now()))
          : eachOfCampaign(client, options.campaign, filterOf(options, now()));
      const format = terminal.isJson ? 'jsonl' : options.format;
      let count = 0;
      const counted = async function* () {
        if (format === 'csv') yield csvLine(fields);
        for await (const row of rows) {
          count += 1;
          yield format === 'csv' ? csvOf(row) : `${JSON.stringify(row)}\n`;
        }
      };
      if (options.output === undefined) {
        await pipeline(counted, process.stdout as Writable, { end: false });
        return;
      }
      await pipeline(counted, createWriteStream(options.output, { flags: 'wx', mode: 0o600 }));
      terminal.line(`${terminal.paint('green', '✓')} ${count} rows in ${options.output}`);
    });
};

const filterOf = (options: FilterOptions, now: number): Filter => ({
  resource: options.campaign === undefined ? '' : `campaigns/${options.campaign}`,
  site: options.site === undefined ? '' : `sites/${options.site}`,
  action: options.action ?? '',
  since: options.since === undefined ? undefined : parseTime(options.since, now),
  until: options.until === undefined ? undefined : parseTime(options.until, now),
});

const eachEntry = (client: CloudClient, filter: Filter): AsyncGenerator<AuditEntry> =>
  eachPage(async (pageToken) => {
    const page = await client.call(client.audit, client.audit.listAuditEntries, {
      ...filter,
      pageSize: 1000,
      pageToken,
    });
    return { items: page.entries, nextPageToken: page.nextPageToken };
  });

async function* eachRow(client: CloudClient, filter: Filter): AsyncGenerator<AuditRow> {
  for await (const entry of eachEntry(client, filter)) yield rowOf(entry);
}

/** What was done to it, to its images (who signed them), what was stopped while it ran, and every step of its executions. */
async function* eachOfCampaign(
  client: CloudClient,
  id: string,
  filter: Filter,
): AsyncGenerator<AuditRow> {
  const campaign = await getCampaign(client, id);
  for (const image of campaign.images) yield* eachRow(client, { ...filter, resource: image });
  yield* eachRow(client, filter);
  if (filter.action === '') {
    yield* eachRow(client, {
      ...filter,
      resource: '',
      action: 'emergency_stop.',
      since: filter.since ?? campaign.createTime,
      until: filter.until ?? campaign.endTime,
    });
  }
  if (filter.action !== '' && !filter.action.startsWith('execution.')) return;
  for await (const step of eachStep(client, id, '-')) {
    const row = stepRowOf(step);
    const [site = ''] = row.device.split('/');
    if (filter.site !== '' && filter.site !== `sites/${site}`) continue;
    yield {
      number: null,
      time: row.time?.toISOString() ?? '',
      record_time: row.receive_time?.toISOString() ?? '',
      actor: 'site',
      action: `execution.${row.status}`,
      resource: step.execution,
      site: `sites/${site}`,
      reason: row.error ?? '',
      details: { attempt: row.attempt, to_version: row.to_version, door: row.door },
    };
  }
}

const rowOf = (entry: AuditEntry): AuditRow => ({
  number: Number(entry.number),
  time: entry.time?.toISOString() ?? '',
  record_time: entry.recordTime?.toISOString() ?? '',
  actor: entry.actor,
  action: entry.action,
  resource: entry.resource,
  site: entry.site,
  reason: entry.reason,
  details: entry.details ?? {},
});

const fields = [
  'number',
  'time',
  'record_time',
  'actor',
  'action',
  'resource',
  'site',
  'reason',
  'details',
] as const;

const csvOf = (row: AuditRow): string =>
  csvLine(
    fields.map((field) =>
      field === 'details' ? JSON.stringify(row.details) : String(row[field] ?? ''),
    ),
  );

/** What was asked for at a site's own door, which names no resource. */
const requestOf = ({ details }: AuditRow): string | undefined =>
  typeof details.method === 'string' && typeof details.path === 'string'
    ? `${details.method} ${details.path}`
    : undefined;

const columns: readonly Column<AuditRow>[] = [
  { title: 'TIME', value: ({ time }) => time },
  { title: 'WHO', value: ({ actor }) => actor },
  { title: 'WHAT', value: ({ action }) => action },
  { title: 'TO', value: (row) => row.resource || requestOf(row) },
  { title: 'SITE', value: ({ site }) => (site === '' ? undefined : idOf(site)) },
  { title: 'REASON', value: ({ reason }) => reason || undefined },
];
