/** `holdfast gateway`: the gateway of a site. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import { addBeside, type BesideCommand } from '../beside.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { addSignInCommands } from './sign-in.js';
import { createGatewayCode } from './sites.js';

export const addGatewayCommands = (program: Command, context: () => CommandContext): void => {
  const gateway = program.command('gateway').description('the gateway of a site');

  gateway
    .command('code <site>')
    .description('print a new one-time code with which a gateway enrols')
    .option('--replace', 'grant the next epoch: the gateway that owns the site now will be fenced')
    .action(async (site: string, options: { replace?: boolean }) => {
      const { terminal, cloud } = context();
      const code = await createGatewayCode(await cloud(), site, options.replace === true);
      terminal.json(code);
      terminal.line(code.code);
      terminal.line(
        terminal.paint('dim', `valid once, until ${code.expireTime?.toISOString() ?? '?'}`),
      );
    });

  gateway
    .command('revoke <site>')
    .description(
      'take back the certificates of the gateways that the site had before its present one',
    )
    .option('--gateway-id <id>', 'of this one alone')
    .option('--with-site-ca', 'its authority too: devices that it enrolled need new codes')
    .action(async (site: string, options: { gatewayId?: string; withSiteCa?: boolean }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const { serials } = await client.call(client.sites, client.sites.revokeGateway, {
        name: `sites/${site}`,
        gatewayId: options.gatewayId ?? '',
        includeSiteCa: options.withSiteCa === true,
      });
      terminal.json({ revoked: serials });
      for (const one of serials) terminal.line(`${terminal.paint('green', '✓')} ${one} revoked`);
      if (serials.length === 0) terminal.line('Nothing was left to revoke');
    });

  gateway
    .command('revocations <site>')
    .description(
      'what the gateways before the present one say to be revoked; none of it holds until it is accepted',
    )
    .option('--accept', 'revoke these certificates')
    .option('--dismiss', 'forget these proposals')
    .option('--serial <serial...>', 'these alone')
    .action(async (site: string, options: ProposalOptions) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const name = `sites/${site}`;
      if (options.accept === true || options.dismiss === true) {
        const accept = options.accept === true;
        if (accept && options.dismiss === true) {
          throw new HoldfastError('REQUEST_INVALID', 'either --accept or --dismiss');
        }
        const request = { name, accept, serials: options.serial ?? [] };
        const { serials } = await client.call(
          client.sites,
          client.sites.settleRevocationProposals,
          request,
        );
        terminal.json(accept ? { revoked: serials } : { dismissed: serials });
        const done = accept ? 'revoked' : 'dismissed';
        for (const one of serials) terminal.line(`${terminal.paint('green', '✓')} ${one} ${done}`);
        if (serials.length === 0) terminal.line('Nothing was left to settle');
        return;
      }
      const proposals = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.sites, client.sites.listRevocationProposals, {
            ...{ name, pageSize: 1_000, pageToken },
          });
          return { items: page.proposals, nextPageToken: page.nextPageToken };
        }),
      );
      terminal.table(
        proposals,
        [
          { title: 'DEVICE', value: ({ deviceId }) => deviceId },
          { title: 'SERIAL', value: ({ serial }) => serial },
          { title: 'REASON', value: ({ reason }) => reason },
          { title: 'BY', value: ({ actor }) => actor },
          { title: 'SAID TO BE', value: ({ revokeTime }) => revokeTime?.toISOString() ?? '' },
        ],
        'Nothing: no gateway before the present one has brought revocations of its own',
      );
      if (proposals.length > 0) {
        terminal.line(`  next: holdfast gateway revocations ${site} --accept, or --dismiss`);
      }
    });

  addSignInCommands(gateway, context);
  for (const command of onTheGateway) addBeside(gateway, context, command);
};

interface ProposalOptions {
  readonly accept?: boolean;
  readonly dismiss?: boolean;
  readonly serial?: string[];
}

const onTheGateway: readonly BesideCommand[] = [
  {
    usage: 'doctor',
    description:
      'on the gateway itself: look at network, clock, disk, ports, lines and certificates',
  },
  {
    usage: 'enroll <code>',
    description: 'on the gateway itself: make its keys and take the site that the code is for',
  },
  {
    usage: 'install-service',
    description: 'on the gateway itself: have systemd run it, with as few rights as it needs',
  },
];
