/** `holdfast campaign create` and `holdfast job create`: flags or a file, shown back with what comes next. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  Campaign,
  CampaignPhase,
  DisruptionBudget,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { type Command, Option } from 'commander';
import { parseCount, parseJsonObject } from '../../arguments.js';
import type { CommandContext } from '../../context.js';
import { parseBytes, parseDuration, parseTime } from '../../duration.js';
import { readCampaignFile } from './campaign-file.js';
import { rowOf, stateOf } from './campaign-rows.js';
import { type CampaignSpec, campaignOf, mergeSpecs, parseBudget } from './campaign-spec.js';
import { parsePhase, phaseHelp } from './phase-option.js';
import { nextStep } from './show-campaign.js';

interface CreateOptions {
  readonly firmware?: string[];
  readonly document?: string;
  readonly file?: string;
  readonly name?: string;
  readonly site?: string[];
  readonly group?: string[];
  readonly model?: string[];
  readonly device?: string[];
  readonly label?: string[];
  readonly fromVersion?: string[];
  readonly versions?: string;
  readonly static?: boolean;
  readonly phase?: CampaignPhase[];
  readonly concurrency?: number;
  readonly retries?: number;
  readonly budget?: DisruptionBudget[];
  readonly offerTimeout?: number;
  readonly downloadTimeout?: number;
  readonly installTimeout?: number;
  readonly confirmTimeout?: number;
  readonly maxPlanAge?: number;
  readonly unproven?: 'success' | 'failure';
  readonly wan?: number;
  readonly at?: string;
  readonly start?: boolean;
}

const each =
  <T>(parse: (text: string) => T) =>
  (text: string, before: readonly T[] | undefined): T[] => [...(before ?? []), parse(text)];

export type Kind = 'campaign' | 'job';

export const addCreateCommand = (
  parent: Command,
  kind: Kind,
  context: () => CommandContext,
): void => {
  const command = parent
    .command('create <id>')
    .description(`create a ${kind}; it does nothing until it is started`);
  if (kind === 'campaign') {
    command.option(
      '--firmware <model@version...>',
      'what to install; one image a model, or several for different hardware',
    );
  } else {
    command.option('--document <json>', 'what the devices are told, as \'{"do":"check"}\'');
  }
  command
    .option('--file <file>', 'read it from a YAML file; flags stand in place of what it says')
    .option('--name <text>', 'how it is shown')
    .option('--site <id...>', 'only at these sites')
    .option('--group <id...>', 'only members of one of these groups')
    .option('--model <model...>', 'only devices of these models')
    .option('--device <id...>', 'only these devices, as pump-1 or north/pump-1')
    .option('--label <key=value...>', 'only devices with these labels')
    .option('--from-version <version...>', 'only devices that run one of these')
    .option('--versions <range>', "only devices that run one of the range, as '< 2.1.0'")
    .option('--static', 'only devices that fit at the start; those that come later are left out')
    .option('--phase <phase>', `part after part: ${phaseHelp}`, each(parsePhase))
    .option('--concurrency <n>', 'devices of one site at once (10)', parseCount('concurrency', 1))
    .option(
      '--budget <budget>',
      'devices that may be away at once, as max=2 or GROUP:max=1:min=3',
      each(parseBudget),
    )
    .option('--retries <n>', 'further attempts after a failure (0)', parseCount('retries'))
    .option('--offer-timeout <time>', 'until it is taken up (1d)', parseDuration('offer-timeout'))
    .option('--install-timeout <time>', 'to install (30m)', parseDuration('install-timeout'))
    .option(
      '--max-plan-age <time>',
      'how long a site without contact begins further devices (72h)',
      parseDuration('max-plan-age'),
    )
    .option('--at <time>', 'start it then: +2h, or 2026-11-23T02:00')
    .option('--start', 'start it at once');
  if (kind === 'campaign') {
    command
      .option('--download-timeout <time>', 'to download (1h)', parseDuration('download-timeout'))
      .option(
        '--confirm-timeout <time>',
        'from restart to proof of boot (10m)',
        parseDuration('confirm-timeout'),
      )
      .option(
        '--wan <bytes>',
        'a site loads with so many bytes a second, as 500kB',
        parseBytes('wan'),
      )
      .addOption(
        new Option('--unproven <outcome>', 'what counts where a device can give no proof').choices([
          'success',
          'failure',
        ]),
      );
  }
  command.action(async (id: string, options: CreateOptions) => {
    const { terminal, cloud, now } = context();
    const spec = await specOf(kind, options, now());
    const client = await cloud();
    const created = await client.call(client.campaigns, client.campaigns.createCampaign, {
      campaignId: id,
      campaign: campaignOf(id, spec),
    });
    const isStarted = options.start === true || options.at !== undefined;
    const shown = isStarted
      ? await client.call(client.campaigns, client.campaigns.startCampaign, {
          name: created.name,
          etag: created.etag,
        })
      : created;
    terminal.json(rowOf(shown));
    terminal.line(
      `${terminal.paint('green', '✓')} ${kind} ${id} ${stateOf(shown)}${whenOf(shown)}`,
    );
    const next = isStarted ? `holdfast ${kind} watch ${id}` : nextStep(shown);
    if (next !== undefined) terminal.line(`  next: ${next}`);
  });
};

const whenOf = (campaign: Campaign): string =>
  stateOf(campaign) === 'scheduled' ? ` for ${campaign.scheduledTime?.toISOString() ?? ''}` : '';

const specOf = async (kind: Kind, options: CreateOptions, now: number): Promise<CampaignSpec> => {
  const fromFile = options.file === undefined ? {} : await readCampaignFile(options.file, now);
  const spec = mergeSpecs(fromFile, fromFlags(options, now));
  if (kind === 'job' && spec.document === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'a job has a document: --document \'{"do":"check"}\', or --file',
    );
  }
  if (kind === 'campaign' && spec.images === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'a campaign has images: --firmware MODEL@VERSION, or --file',
    );
  }
  return spec;
};

const fromFlags = (options: CreateOptions, now: number): CampaignSpec => {
  const flags = {
    name: options.name,
    images: options.firmware,
    document:
      options.document === undefined ? undefined : parseJsonObject(options.document, '--document'),
    sites: options.site,
    groups: options.group,
    models: options.model,
    devices: options.device,
    labels: options.label === undefined ? undefined : parseLabels(options.label),
    fromVersions: options.fromVersion,
    versions: options.versions,
    lateJoiners: options.static === true ? false : undefined,
    phases: options.phase,
    concurrency: options.concurrency,
    retries: options.retries,
    budgets: options.budget,
    offerTimeout: options.offerTimeout,
    downloadTimeout: options.downloadTimeout,
    installTimeout: options.installTimeout,
    confirmTimeout: options.confirmTimeout,
    maxPlanAge: options.maxPlanAge,
    unproven: options.unproven,
    wan: options.wan,
    startAt: options.at === undefined ? undefined : parseTime(options.at, now),
  };
  return Object.fromEntries(
    Object.entries(flags).filter(([, value]) => value !== undefined),
    // What is left are the fields of the type above.
  ) as CampaignSpec;
};

/** `key=value` pairs; both are text. Errors: REQUEST_INVALID. */
export const parseLabels = (pairs: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new HoldfastError('REQUEST_INVALID', `'${pair}' is no label: write key=value`);
    }),
  );
