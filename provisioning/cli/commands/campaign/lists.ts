/** `list`, `get`, `executions`, `steps` and `progress` of campaigns and jobs. */
import type { SiteProgress } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Command } from 'commander';
import { parseDevice } from '../../arguments.js';
import { type CommandContext, collect } from '../../context.js';
import { inNaturalOrder } from '../../natural-order.js';
import { ago, type Column } from '../../terminal.js';
import { idOf } from '../sites.js';
import { countsText, showAtSite } from './at-site.js';
import {
  eachSite,
  eachStep,
  getCampaign,
  listCampaigns,
  listExecutions,
} from './campaign-calls.js';
import {
  type CampaignRow,
  contentOf,
  type ExecutionRow,
  executionRowOf,
  rowOf,
  type SiteCampaignRow,
  type StepRow,
  stateAtSite,
  stateColour,
  statusColour,
  stepRowOf,
} from './campaign-rows.js';
import type { Kind } from './create.js';
import { showCampaign, siteColumns, sitesShown } from './show-campaign.js';

export const addListCommands = (
  parent: Command,
  kind: Kind,
  context: () => CommandContext,
): void => {
  parent
    .command('list')
    .description(`every ${kind}`)
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
      const all = await listCampaigns(await cloud());
      const own = all.filter(({ document }) => (document !== undefined) === (kind === 'job'));
      terminal.table(
        own.map(rowOf),
        kind === 'job' ? jobColumns : columns,
        kind === 'job'
          ? 'No jobs yet: holdfast job create ID --document \'{"do":"check"}\''
          : 'No campaigns yet: holdfast campaign create ID --firmware MODEL@VERSION',
      );
    });

  parent
    .command('get <id>')
    .description('whom it is for, and how far it is, by phase and site')
    .action(async (id: string) => {
      const { terminal, cloud, asksGateway, now } = context();
      if (asksGateway) return showAtSite(context(), id);
      const client = await cloud();
      const campaign = await getCampaign(client, id);
      const sites: SiteProgress[] = [];
      for await (const site of eachSite(client, id)) {
        sites.push(site);
        if (sites.length > sitesShown) break;
      }
      showCampaign(terminal, { campaign, sites }, now());
    });

  parent
    .command('progress <id>')
    .description('every site that carries it out, and how far it is in each phase')
    .action(async (id: string) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const campaign = await getCampaign(client, id);
      terminal.table(
        inNaturalOrder(await collect(eachSite(client, id)), ({ site }) => site),
        siteColumns(terminal, campaign),
        `No site carries it out: holdfast ${kind} start ${id}`,
      );
    });

  parent
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

  parent
    .command('steps <id> [device]')
    .description('what the devices went through, with the times; of one (SITE/DEVICE) or of all')
    .option('--site <id>', 'the site of the device')
    .action(async (id: string, name: string | undefined, options: { site?: string }) => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const rows = (await collect(eachStep(client, id, executionOf(name, options.site)))).map(
        stepRowOf,
      );
      terminal.table(rows, stepColumns(now()), 'No step of it has been reported yet');
    });
};

const executionOf = (name: string | undefined, site: string | undefined): string => {
  if (name === undefined) return '-';
  const parsed = parseDevice(name, site);
  return `${parsed.site ?? ''}:${parsed.device}`;
};

const columns: readonly Column<CampaignRow>[] = [
  { title: 'CAMPAIGN', value: (campaign) => idOf(campaign.name) },
  { title: 'FIRMWARE', value: contentOf },
  {
    title: 'STATE',
    value: (campaign) => campaign.state,
    colour: (campaign) => stateColour(campaign.state),
  },
  { title: 'PROGRESS', value: (campaign) => campaign.progress_text },
];

const jobColumns: readonly Column<CampaignRow>[] = [
  { title: 'JOB', value: (job) => idOf(job.name) },
  ...columns.filter(({ title }) => title !== 'CAMPAIGN' && title !== 'FIRMWARE'),
];

const siteCampaignColumns: readonly Column<SiteCampaignRow>[] = [
  { title: 'CAMPAIGN', value: (row) => row.campaign },
  { title: 'VERSION', value: (row) => row.version || undefined },
  { title: 'STATE', value: stateAtSite },
  {
    title: 'DEVICES',
    value: (row) => countsText(row.executions),
  },
  { title: 'WAITS', value: (row) => row.waits_for?.reason },
];

const executionColumns: readonly Column<ExecutionRow>[] = [
  { title: 'DEVICE', value: (row) => row.device },
  { title: 'STATUS', value: (row) => row.status, colour: ({ status }) => statusColour(status) },
  { title: 'FROM', value: (row) => row.from_version ?? undefined },
  { title: 'TO', value: (row) => row.to_version || undefined },
  { title: 'ATTEMPT', value: (row) => row.attempt },
  { title: 'ERROR', value: (row) => row.waits_for ?? row.error ?? undefined },
];

const stepColumns = (now: number): readonly Column<StepRow>[] => [
  { title: 'DEVICE', value: (row) => row.device },
  { title: 'TIME', value: (row) => row.time?.toISOString() },
  { title: 'STATUS', value: (row) => row.status, colour: ({ status }) => statusColour(status) },
  { title: 'ATTEMPT', value: (row) => row.attempt },
  { title: 'DOOR', value: (row) => row.door ?? undefined },
  { title: 'HEARD', value: (row) => ago(row.receive_time, now) },
  { title: 'ERROR', value: (row) => row.error ?? undefined },
];
