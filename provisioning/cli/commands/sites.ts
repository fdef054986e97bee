/** `holdfast site`: the sites of the fleet. */
import type { Site } from '@holdfast/protos/gen/holdfast/v1/sites';
import type { Command } from 'commander';
import { addBeside } from '../beside.js';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { inNaturalOrder } from '../natural-order.js';
import { ago, type Column, type Terminal } from '../terminal.js';

export const addSiteCommands = (program: Command, context: () => CommandContext): void => {
  const site = program.command('site').description('the sites of the fleet');

  site
    .command('create <id>')
    .description('create a site and print the one-time code with which its gateway enrols')
    .option('--display-name <text>', 'what people call it')
    .action(async (id: string, options: { displayName?: string }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const created = await client.call(client.sites, client.sites.createSite, {
        siteId: id,
        site: emptySite({ displayName: options.displayName ?? id }),
      });
      const code = await createGatewayCode(client, id, false);
      terminal.json({ site: created, gateway_code: code.code, expire_time: code.expireTime });
      terminal.line(`${terminal.paint('green', '✓')} site ${id}`);
      terminal.line();
      terminal.line(`On the gateway, before ${code.expireTime?.toISOString() ?? 'it expires'}:`);
      terminal.line(`  ${terminal.paint('bold', `holdfast gateway enroll ${code.code}`)}`);
    });

  site
    .command('list')
    .description('every site with the state of its link and plan')
    .action(async () => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      showSites(terminal, await listSites(client), now());
    });

  addBeside(site, context, {
    usage: 'plan [file]',
    description: 'on the gateway itself: what a site file would change, and what drifted',
  });
  addBeside(site, context, {
    usage: 'apply [file]',
    description: 'on the gateway itself: make a site file its configuration, or go back',
  });

  site
    .command('get <id>')
    .description('one site')
    .action(async (id: string) => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const found = await client.call(client.sites, client.sites.getSite, { name: `sites/${id}` });
      const gateway = found.gateway;
      terminal.fields(found, [
        ['site', id],
        ['display name', found.displayName],
        ['devices', String(found.deviceCount)],
        ['gateway', gateway?.gatewayId ?? `none enrolled: holdfast gateway code ${id}`],
        ['epoch', gateway === undefined ? undefined : String(gateway.epoch)],
        ['link', linkOf(found)],
        ['last contact', ago(gateway?.lastContactTime, now())],
        ['version', gateway?.version],
        ['plan', planOf(found)],
        ...(gateway?.cloneSuspected ? [['next', cloneRemedy(id)] as const] : []),
        [
          'journal committed',
          gateway &&
            `audit ${gateway.auditSeq}, state ${gateway.stateSeq}, telemetry ${gateway.telemetrySeq}`,
        ],
      ]);
    });
};

/** A table, and what to do about what is not well. */
export const showSites = (terminal: Terminal, sites: readonly Site[], now: number): void => {
  terminal.table(
    inNaturalOrder(sites, ({ name }) => name),
    siteColumns(now),
    'No sites yet: holdfast site create ID',
  );
  for (const { name, gateway } of sites) {
    if (!gateway?.cloneSuspected) continue;
    terminal.line();
    terminal.line(`${terminal.paint('yellow', '!')} ${idOf(name)}: two gateways have one identity`);
    terminal.line(`  next: ${cloneRemedy(idOf(name))}`);
  }
};

const cloneRemedy = (site: string): string =>
  `stop the copy; if you cannot tell which it is: holdfast gateway code ${site} --replace, and enrol the one that shall stay, in an empty --data folder`;

export const createGatewayCode = (client: CloudClient, site: string, replace: boolean) =>
  client.call(client.sites, client.sites.createGatewayCode, {
    name: `sites/${site}`,
    replace,
    lifetimeSeconds: 0,
  });

export const listSites = (client: CloudClient): Promise<Site[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.sites, client.sites.listSites, {
        pageSize: 1000,
        pageToken,
      });
      return { items: page.sites, nextPageToken: page.nextPageToken };
    }),
  );

export const siteColumns = (now: number): readonly Column<Site>[] => [
  { title: 'SITE', value: (site) => idOf(site.name) },
  { title: 'NAME', value: (site) => site.displayName },
  {
    title: 'LINK',
    value: linkOf,
    colour: (site) => (site.gateway?.connected ? 'green' : site.gateway ? 'yellow' : 'dim'),
  },
  { title: 'LAST CONTACT', value: (site) => ago(site.gateway?.lastContactTime, now) },
  {
    title: 'PLAN',
    value: planOf,
    colour: (site) => (site.plan?.refusedCode ? 'red' : undefined),
  },
  { title: 'DEVICES', value: (site) => String(site.deviceCount) },
];

const linkOf = (site: Site): string => {
  if (site.gateway === undefined) return 'no gateway';
  if (site.gateway.cloneSuspected) return 'clone suspected';
  return site.gateway.connected ? 'up' : 'down';
};

const planOf = (site: Site): string | undefined => {
  const plan = site.plan;
  if (plan === undefined || site.gateway === undefined) return undefined;
  if (plan.refusedCode !== '') return `${plan.revision} refused: ${plan.refusedCode}`;
  return plan.appliedRevision === plan.revision
    ? `${plan.revision} applied`
    : `${plan.revision}, site has ${plan.appliedRevision}`;
};

/** The last segment of a resource name. */
export const idOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

const emptySite = (fields: Partial<Site>): Site => ({
  name: '',
  displayName: '',
  createTime: undefined,
  updateTime: undefined,
  etag: '',
  gateway: undefined,
  plan: undefined,
  deviceCount: 0n,
  ...fields,
});
