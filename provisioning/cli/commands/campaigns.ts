/** `holdfast campaign`: which firmware goes to which devices. */

import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  Campaign,
  CampaignState,
  campaignStateToJSON,
  type Execution,
  executionStatusToJSON,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Command } from 'commander';
import { parseCount } from '../arguments.js';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { inNaturalOrder } from '../natural-order.js';
import { ago, type Column, type Terminal } from '../terminal.js';
import { idOf } from './sites.js';

interface CreateOptions {
  readonly firmware: string;
  readonly site?: string[];
  readonly device?: string[];
  readonly fromVersion?: string[];
  readonly concurrency?: number;
  readonly retries?: number;
  readonly start?: boolean;
}

export const addCampaignCommands = (program: Command, context: () => CommandContext): void => {
  const campaign = program.command('campaign').description('firmware for devices, site by site');

  campaign
    .command('create <id>')
    .description('create a campaign; it does nothing until it is started')
    .requiredOption('--firmware <model@version>', 'what to install')
    .option('--site <id...>', 'only at these sites')
    .option('--device <id...>', 'only these devices')
    .option('--from-version <version...>', 'only devices that run one of these')
    .option('--concurrency <n>', 'devices of one site at once (10)', parseCount('concurrency', 1))
    .option('--retries <n>', 'further attempts after a failure (0)', parseCount('retries'))
    .option('--start', 'start it at once')
    .action(async (id: string, options: CreateOptions) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      let created = await client.call(client.campaigns, client.campaigns.createCampaign, {
        campaignId: id,
        campaign: draft(id, options),
      });
      if (options.start === true) {
        created = await client.call(client.campaigns, client.campaigns.startCampaign, {
          name: created.name,
          etag: created.etag,
        });
      }
      terminal.json(rowOf(created));
      terminal.line(`${terminal.paint('green', '✓')} campaign ${id} ${stateOf(created)}`);
      terminal.line(
        `  next: holdfast campaign ${options.start === true ? 'watch' : 'start'} ${id}`,
      );
    });

  campaign
    .command('start <id>')
    .description('put it into the plan of every site it targets')
    .action(async (id: string) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const name = `campaigns/${id}`;
      const started = await client.call(client.campaigns, client.campaigns.startCampaign, {
        name,
        etag: '',
      });
      terminal.json(rowOf(started));
      terminal.line(`${terminal.paint('green', '✓')} campaign ${id} is ${stateOf(started)}`);
      terminal.line(`  next: holdfast campaign watch ${id}`);
    });

  campaign
    .command('cancel <id>')
    .description('cancel what has not begun, and what has where the device can still go back')
    .option('--reason <text>', 'why', '')
    .action(async (id: string, options: { reason: string }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const cancelled = await client.call(client.campaigns, client.campaigns.cancelCampaign, {
        name: `campaigns/${id}`,
        reason: options.reason,
      });
      terminal.json(rowOf(cancelled));
      const isOver = cancelled.state === CampaignState.CAMPAIGN_STATE_COMPLETED;
      terminal.line(
        isOver
          ? `${terminal.paint('yellow', '!')} campaign ${id} was over before: nothing to cancel`
          : `${terminal.paint('green', '✓')} campaign ${id} is ${stateOf(cancelled)}`,
      );
    });

  campaign
    .command('watch <id>')
    .description('follow its progress until it is over')
    .action(async (id: string) => {
      const { terminal, cloud, signal } = context();
      const client = await cloud();
      const call = client.campaigns.watchCampaign({ name: `campaigns/${id}` }, client.metadata);
      const stop = () => call.cancel();
      signal.addEventListener('abort', stop, { once: true });
      try {
        let shown = '';
        for await (const now of call) shown = showProgress(terminal, now as Campaign, shown);
        if (terminal.isInteractive) terminal.error.write('\n');
      } catch (error) {
        if (!signal.aborted) throw fromServiceError(error as never, call.getPeer());
      } finally {
        signal.removeEventListener('abort', stop);
      }
    });

  campaign
    .command('list')
    .description('every campaign')
    .action(async () => {
      const { terminal, cloud, gateway, asksGateway } = context();
      if (asksGateway) {
        terminal.table(
          await (await gateway()).listCampaigns(),
          siteCampaignColumns,
          'The plan of this site has no campaign',
        );
        return;
      }
      terminal.table(
        (await listCampaigns(await cloud())).map(rowOf),
        campaignColumns,
        'No campaigns yet: holdfast campaign create ID --firmware MODEL@VERSION',
      );
    });

  campaign
    .command('get <id>')
    .description('one campaign: whom it is for, and how far it is')
    .action(async (id: string) => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const found = await client.call(client.campaigns, client.campaigns.getCampaign, {
        name: `campaigns/${id}`,
      });
      const { target } = found;
      const someOf = (ids: readonly string[] | undefined, all: string): string =>
        ids === undefined || ids.length === 0 ? all : ids.map(idOf).join(', ');
      terminal.fields(rowOf(found), [
        ['campaign', id],
        ['firmware', idOf(found.firmware)],
        ['state', stateOf(found)],
        ['progress', progressOf(found)],
        ['model', target?.model],
        ['sites', someOf(target?.sites, 'every site')],
        ['devices', someOf(target?.deviceIds, 'every device of the model')],
        ['from version', someOf(target?.currentVersions, 'any')],
        ['started', ago(found.startTime, now())],
        ['ended', found.endTime && ago(found.endTime, now())],
      ]);
    });

  campaign
    .command('executions <id>')
    .description("every device's run of it")
    .action(async (id: string) => {
      const { terminal, cloud, gateway, asksGateway } = context();
      const rows = asksGateway
        ? await (await gateway()).listExecutions(id)
        : (await listExecutions(await cloud(), id)).map(executionRowOf);
      terminal.table(
        inNaturalOrder(rows, ({ device }) => device),
        executionColumns,
        'No execution of it has been reported yet',
      );
    });
};

const listCampaigns = (client: CloudClient): Promise<Campaign[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.campaigns, client.campaigns.listCampaigns, {
        pageSize: 1000,
        pageToken,
      });
      return { items: page.campaigns, nextPageToken: page.nextPageToken };
    }),
  );

const listExecutions = (client: CloudClient, id: string): Promise<Execution[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.campaigns, client.campaigns.listExecutions, {
        parent: `campaigns/${id}`,
        pageSize: 1000,
        pageToken,
      });
      return { items: page.executions, nextPageToken: page.nextPageToken };
    }),
  );

const draft = (id: string, options: CreateOptions): Campaign =>
  Campaign.fromPartial({
    displayName: id,
    firmware: `firmware/${options.firmware}`,
    target: {
      sites: (options.site ?? []).map((site) => `sites/${site}`),
      deviceIds: options.device ?? [],
      currentVersions: options.fromVersion ?? [],
    },
    policy: { siteConcurrency: options.concurrency ?? 0, retries: options.retries ?? 0 },
  });

const stateOf = (campaign: Campaign): string =>
  campaignStateToJSON(campaign.state).replace('CAMPAIGN_STATE_', '').toLowerCase();

const statusOf = (execution: Execution): string =>
  executionStatusToJSON(execution.status).replace('EXECUTION_STATUS_', '').toLowerCase();

/** States and statuses in words, also for programs: the numbers of the wire mean nothing to anybody. */
const rowOf = (campaign: Campaign): CampaignRow => ({
  ...campaign,
  state: stateOf(campaign),
  progress_text: progressOf(campaign),
});
type CampaignRow = Omit<Campaign, 'state'> & {
  readonly state: string;
  readonly progress_text: string;
};

/** An execution as both APIs show it. */
export interface ExecutionRow {
  readonly device: string;
  readonly status: string;
  readonly attempt: number;
  readonly from_version: string | null;
  readonly to_version: string;
  readonly error: string | null;
  /** Why it is not offered now, where that is known. */
  readonly waits_for?: string | null;
}

/** A campaign as the gateway shows it: what it has of it, executions counted by status. */
export interface SiteCampaignRow {
  readonly campaign: string;
  readonly version: string;
  readonly state: string;
  readonly executions: Readonly<Record<string, number>>;
}

const executionRowOf = (execution: Execution): ExecutionRow => ({
  device: execution.device.replace(/^sites\//, '').replace('/devices/', '/'),
  status: statusOf(execution),
  attempt: execution.attempt,
  from_version: execution.fromVersion || null,
  to_version: execution.toVersion,
  error: execution.error || null,
});

const overOf = (campaign: Pick<Campaign, 'progress'>): bigint => {
  const p = campaign.progress;
  if (p === undefined) return 0n;
  return p.succeeded + p.unproven + p.failed + p.rolledBack + p.cancelled + p.superseded;
};

/** What a person reads of it: where nothing was counted, why. */
export const progressOf = (campaign: Pick<Campaign, 'progress' | 'state'>): string => {
  const p = campaign.progress;
  if (p === undefined || p.total === 0n) return emptyProgress(campaign.state);
  const parts: [string, bigint][] = [
    ['queued', p.queued],
    ['in progress', p.inProgress],
    ['succeeded', p.succeeded],
    ['unproven', p.unproven],
    ['failed', p.failed],
    ['rolled back', p.rolledBack],
    ['cancelled', p.cancelled],
    ['superseded', p.superseded],
  ];
  const counts = parts.filter(([, count]) => count > 0n).map(([name, count]) => `${count} ${name}`);
  return [`${overOf(campaign)} of ${p.total} done`, ...counts].join(' · ');
};

const emptyProgress = (state: CampaignState): string => {
  if (state === CampaignState.CAMPAIGN_STATE_DRAFT) return 'not started';
  if (state === CampaignState.CAMPAIGN_STATE_COMPLETED) {
    return 'no device matched: check its model, --site, --device and --from-version';
  }
  if (state === CampaignState.CAMPAIGN_STATE_CANCELLED) return 'cancelled before a site reported';
  return 'no site has reported yet';
};

const barWidth = 24;

const showProgress = (terminal: Terminal, campaign: Campaign, shownBefore: string): string => {
  terminal.json(rowOf(campaign));
  const total = Number(campaign.progress?.total ?? 0n);
  const filled = total === 0 ? 0 : Math.floor((Number(overOf(campaign)) / total) * barWidth);
  const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled);
  const text = `${bar} ${stateOf(campaign)} · ${progressOf(campaign)}`;
  // A line that wraps cannot be drawn over.
  if (terminal.isInteractive) terminal.error.write(`\r\u001b[2K${terminal.fit(text)}`);
  else if (text !== shownBefore) terminal.line(text);
  return text;
};

const campaignColumns: readonly Column<CampaignRow>[] = [
  { title: 'CAMPAIGN', value: (campaign) => idOf(campaign.name) },
  { title: 'FIRMWARE', value: (campaign) => idOf(campaign.firmware) },
  {
    title: 'STATE',
    value: (campaign) => campaign.state,
    colour: (campaign) => (campaign.state === 'completed' ? 'green' : undefined),
  },
  { title: 'PROGRESS', value: (campaign) => campaign.progress_text },
];

const siteCampaignColumns: readonly Column<SiteCampaignRow>[] = [
  { title: 'CAMPAIGN', value: (row) => row.campaign },
  { title: 'VERSION', value: (row) => row.version },
  { title: 'STATE', value: (row) => row.state },
  {
    title: 'DEVICES',
    value: (row) =>
      Object.entries(row.executions)
        .map(([status, count]) => `${count} ${status.replace('_', ' ')}`)
        .join(' · ') || 'no device matches so far',
  },
];

const executionColumns: readonly Column<ExecutionRow>[] = [
  { title: 'DEVICE', value: (row) => row.device },
  { title: 'STATUS', value: (row) => row.status, colour: (row) => executionColour(row) },
  { title: 'FROM', value: (row) => row.from_version ?? undefined },
  { title: 'TO', value: (row) => row.to_version },
  { title: 'ATTEMPT', value: (row) => row.attempt },
  { title: 'ERROR', value: (row) => row.waits_for ?? row.error ?? undefined },
];

const executionColour = ({ status }: ExecutionRow) => {
  if (status === 'succeeded') return 'green';
  if (status === 'failed' || status === 'rolled_back') return 'red';
  return status === 'unproven' ? 'yellow' : undefined;
};
