/** What people do to a campaign or a job that is there: start, pause, resume, approve, release, cancel, rollback. */
import type { Campaign } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { CampaignState } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Command } from 'commander';
import { parseCount } from '../../arguments.js';
import type { CloudClient } from '../../cloud-client.js';
import type { CommandContext } from '../../context.js';
import { idOf } from '../sites.js';
import { pauseAtSite, resumeAtSite } from './at-site.js';
import { rowOf, stateOf } from './campaign-rows.js';
import type { Kind } from './create.js';
import { nextStep } from './show-campaign.js';

interface PhaseOptions {
  readonly phase?: number;
  readonly reason: string;
}

export const addControlCommands = (
  parent: Command,
  kind: Kind,
  context: () => CommandContext,
): void => {
  /** Does it and shows what the campaign is then. */
  const act = async (
    id: string,
    change: (client: CloudClient, name: string) => Promise<Campaign>,
    said: (campaign: Campaign) => string = (campaign) => `${kind} ${id} is ${stateOf(campaign)}`,
    next: (campaign: Campaign) => string | undefined = nextStep,
  ): Promise<void> => {
    const { terminal, cloud } = context();
    const changed = await change(await cloud(), `campaigns/${id}`);
    terminal.json(rowOf(changed));
    terminal.line(`${terminal.paint('green', '✓')} ${said(changed)}`);
    const step = next(changed);
    if (step !== undefined) terminal.line(`  next: ${step}`);
  };
  const watching = (campaign: Campaign) => `holdfast ${kind} watch ${idOf(campaign.name)}`;

  parent
    .command('start <id>')
    .description('put it into the plan of every site it targets')
    .action((id: string) =>
      act(
        id,
        (client, name) =>
          client.call(client.campaigns, client.campaigns.startCampaign, { name, etag: '' }),
        undefined,
        watching,
      ),
    );

  parent
    .command('pause <id>')
    .description('offer nothing new until it is resumed; what devices have begun goes on')
    .option('--reason <text>', 'why', '')
    .action((id: string, { reason }: { reason: string }) =>
      context().asksGateway
        ? pauseAtSite(context(), id, reason)
        : act(id, (client, name) =>
            client.call(client.campaigns, client.campaigns.pauseCampaign, { name, reason }),
          ),
    );

  parent
    .command('resume <id>')
    .description('go on, also at the sites that paused it because of errors')
    .option('--reason <text>', 'why', '')
    .action((id: string, { reason }: { reason: string }) =>
      context().asksGateway
        ? resumeAtSite(context(), id)
        : act(
            id,
            (client, name) =>
              client.call(client.campaigns, client.campaigns.resumeCampaign, { name, reason }),
            undefined,
            watching,
          ),
    );

  parent
    .command('approve <id>')
    .description(
      'let a phase begin that asks for approval; the next one, unless --phase says which',
    )
    .option('--phase <n>', 'which', parseCount('phase', 1))
    .option('--reason <text>', 'what was looked at', '')
    .action((id: string, { phase = 0, reason }: PhaseOptions) =>
      act(
        id,
        (client, name) =>
          client.call(client.campaigns, client.campaigns.approvePhase, {
            name,
            phase,
            comment: reason,
          }),
        (campaign) => `${kind} ${id}: ${openedOf(campaign, phase)} approved`,
        watching,
      ),
    );

  parent
    .command('release <id>')
    .description('let a phase begin whatever it would wait for here: approval, the fleet’s numbers')
    .option(
      '--phase <n>',
      'which; the next one that waits, unless this says',
      parseCount('phase', 1),
    )
    .option('--reason <text>', 'why', '')
    .action((id: string, { phase = 0, reason }: PhaseOptions) =>
      act(
        id,
        (client, name) =>
          client.call(client.campaigns, client.campaigns.releasePhase, { name, phase, reason }),
        (campaign) => `${kind} ${id}: ${openedOf(campaign, phase)} released`,
        watching,
      ),
    );

  parent
    .command('cancel <id>')
    .description('cancel what has not begun, and what has where the device can still go back')
    .option('--reason <text>', 'why', '')
    .action(async (id: string, { reason }: { reason: string }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const cancelled = await client.call(client.campaigns, client.campaigns.cancelCampaign, {
        name: `campaigns/${id}`,
        reason,
      });
      terminal.json(rowOf(cancelled));
      const isOver = cancelled.state === CampaignState.CAMPAIGN_STATE_COMPLETED;
      terminal.line(
        isOver
          ? `${terminal.paint('yellow', '!')} ${kind} ${id} was over before: nothing to cancel`
          : `${terminal.paint('green', '✓')} ${kind} ${id} is ${stateOf(cancelled)}`,
      );
    });

  if (kind === 'job') return;
  parent
    .command('rollback <id>')
    .description('give the devices that got it another image, with the same security counter')
    .requiredOption(
      '--to <model@version...>',
      'what they are to have instead; one a model and hardware',
    )
    .option('--as <id>', 'the name of the new campaign (default: ID-rollback)')
    .option('--reason <text>', 'why', '')
    .option('--start', 'start it at once; this cancels the one that it takes back')
    .action(
      async (
        id: string,
        options: { to: string[]; as?: string; reason: string; start?: boolean },
      ) => {
        const campaignId = options.as ?? `${id}-rollback`;
        await act(
          campaignId,
          async (client, _name) => {
            const drafted = await client.call(
              client.campaigns,
              client.campaigns.createRollbackCampaign,
              {
                name: `campaigns/${id}`,
                campaignId,
                images: options.to.map((image) => `firmware/${image}`),
                reason: options.reason,
              },
            );
            if (options.start !== true) return drafted;
            return client.call(client.campaigns, client.campaigns.startCampaign, {
              name: drafted.name,
              etag: drafted.etag,
            });
          },
          (campaign) => `campaign ${campaignId} ${stateOf(campaign)}: it takes ${id} back`,
          (campaign) => nextStep(campaign) ?? watching(campaign),
        );
      },
    );
};

/** The phase that was opened, where the caller left it to the control plane. */
const openedOf = (campaign: Campaign, phase: number): string => {
  if (phase > 0) return `phase ${phase}`;
  const times = campaign.phases.map((one) =>
    Math.max(one.approveTime?.getTime() ?? 0, one.releaseTime?.getTime() ?? 0),
  );
  const last = Math.max(...times);
  return `phase ${times.lastIndexOf(last) + 1}`;
};
