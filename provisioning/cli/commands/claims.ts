/** `holdfast device claim`, `claims` and `unclaim`: one-time codes with which devices enrol. */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ClaimCode } from '@holdfast/protos/gen/holdfast/v1/devices';
import type { Command } from 'commander';
import { parseCount, parseDevice } from '../arguments.js';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { deviceAtGateway, resolveSite } from '../device-name.js';
import { openLabelFiles } from '../labels/label-files.js';
import { purposeOf, type ShownClaim, showClaims } from '../show-claims.js';
import { ago } from '../terminal.js';
import { idOf } from './sites.js';

/** An open code. */
export interface OpenClaimRow {
  readonly claim: string;
  readonly site: string | undefined;
  readonly device: string | undefined;
  readonly model: string | undefined;
  readonly create_time: Date | undefined;
  readonly expire_time: Date | undefined;
}

/** What a code is to be for. */
export interface ClaimWish {
  readonly device: string | undefined;
  readonly model: string | undefined;
}

interface ClaimOptions {
  readonly site?: string;
  readonly model?: string;
  readonly count?: number;
  readonly days?: number;
  readonly qr?: boolean;
  readonly labels?: string;
  readonly paper?: string;
}

/** As many as one request takes. */
export const claimsAtOnce = 500;
const mostCodes = 10_000;
const daySeconds = 86_400;

export const addClaimCommands = (device: Command, context: () => CommandContext): void => {
  device
    .command('claim [id]')
    .description('print a one-time code with which this device, or any, enrols at its gateway')
    .option('--site <id>', 'the site it belongs to')
    .option('--model <name>', 'only for devices of this model')
    .option('--count <n>', 'so many codes, each for any device', parseCount('count', 1))
    .option('--days <n>', 'how long they last (30; made at a gateway 1)', parseCount('days', 1))
    .option('--qr', 'as a QR code too; what is done on a terminal')
    .option('--no-qr', 'as text alone')
    .option('--labels <file>', 'a sheet of labels to print: .pdf or .svg')
    .option('--paper <size>', 'of the labels: a4 (24 labels) or letter (20)', 'a4')
    .action(async (id: string | undefined, options: ClaimOptions) => {
      const { terminal, asksGateway, gateway, cloud } = context();
      const named = id === undefined ? undefined : parseDevice(id, options.site);
      if (asksGateway && id !== undefined) await deviceAtGateway(await gateway(), id, options.site);
      const alsoOpen = named && (await findOpen(context(), named, options.site));
      const replaced = named && (await findEnrolled(context(), named, options.site));
      const wishes = wishesOf(named?.device, options);
      const labels =
        options.labels === undefined
          ? undefined
          : await openLabelFiles(options.labels, options.paper);
      const lifetimeSeconds = (options.days ?? 0) * daySeconds;
      const claims = asksGateway
        ? await (await gateway()).createClaims(wishes, lifetimeSeconds)
        : await claimsThroughCloud(
            await cloud(),
            named?.site ?? options.site,
            wishes,
            lifetimeSeconds,
          );
      await showClaims(terminal, claims, {
        isList: options.count !== undefined,
        hasQr: options.qr ?? terminal.isTerminal,
        labels,
        replaced,
        ...(alsoOpen && { alsoOpen }),
        isAtGateway: asksGateway,
      });
    });

  device
    .command('claims')
    .description('the codes that are open; what they say is shown only when they are made')
    .option('--site <id>', 'only of this site')
    .action(async ({ site }: { site?: string }) => {
      const { terminal, asksGateway, gateway, cloud, now } = context();
      const rows = asksGateway
        ? await (await gateway()).listClaims()
        : await openClaims(await cloud(), site);
      terminal.table(
        rows,
        [
          { title: 'CODE', value: (row) => row.claim },
          { title: 'SITE', value: (row) => row.site },
          { title: 'DEVICE', value: (row) => row.device ?? 'any' },
          { title: 'MODEL', value: (row) => row.model ?? 'any' },
          { title: 'MADE', value: (row) => ago(row.create_time, now()) },
          { title: 'UNTIL', value: (row) => row.expire_time?.toISOString().slice(0, 16) },
        ],
        'No open codes: holdfast device claim ID',
      );
    });

  device
    .command('unclaim <code>')
    .description('delete an open code, by what `device claims` calls it or its beginning')
    .option('--site <id>', 'the site it belongs to')
    .action(async (code: string, { site }: { site?: string }) => {
      const { terminal, asksGateway, gateway, cloud } = context();
      let deleted: OpenClaimRow;
      if (asksGateway) {
        const client = await gateway();
        deleted = theOne(await client.listClaims(), code);
        await client.deleteClaim(deleted.claim);
      } else {
        const client = await cloud();
        deleted = theOne(await openClaims(client, site), code);
        const name = `sites/${deleted.site}/claimCodes/${deleted.claim}`;
        await client.call(client.enrollment, client.enrollment.deleteClaimCode, { name });
      }
      terminal.json(deleted);
      terminal.line(
        `${terminal.paint('green', '✓')} the code for ${purposeOf(deleted)} is deleted`,
      );
    });
};

/** The codes that are open for this name already. */
const findOpen = async (
  { asksGateway, gateway, cloud }: CommandContext,
  { site, device }: { readonly site?: string | undefined; readonly device: string },
  option: string | undefined,
): Promise<string[]> => {
  const client = asksGateway ? undefined : await cloud();
  const rows =
    client === undefined
      ? await (await gateway()).listClaims()
      : await openClaims(client, await resolveSite(client, site ?? option));
  return rows.filter((row) => row.device === device).map(({ claim }) => claim);
};

/** The id of the device that a code for this name would replace; undefined where none is enrolled. */
const findEnrolled = async (
  { asksGateway, gateway, cloud }: CommandContext,
  { site, device }: { readonly site?: string | undefined; readonly device: string },
  option: string | undefined,
): Promise<string | undefined> => {
  try {
    if (asksGateway) {
      await (await gateway()).getDevice(device);
      return device;
    }
    const client = await cloud();
    const name = `sites/${await resolveSite(client, site ?? option)}/devices/${device}`;
    const { enrollTime } = await client.call(client.devices, client.devices.getDevice, { name });
    return enrollTime && device;
  } catch (error) {
    if (isHoldfastError(error, 'RESOURCE_NOT_FOUND')) return undefined;
    throw error;
  }
};

const wishesOf = (
  device: string | undefined,
  { count = 1, model }: ClaimOptions,
): readonly ClaimWish[] => {
  if (device !== undefined && count > 1) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `one code is enough for ${device}: leave out --count, or the id for codes that any device may use`,
    );
  }
  if (count > mostCodes) throw new HoldfastError('REQUEST_INVALID', `at most ${mostCodes} codes`);
  return Array.from({ length: count }, () => ({ device, model }));
};

/** Makes codes at the control plane, some hundreds a request. */
export const claimsThroughCloud = async (
  client: CloudClient,
  givenSite: string | undefined,
  wishes: readonly ClaimWish[],
  lifetimeSeconds: number,
): Promise<ShownClaim[]> => {
  const site = await resolveSite(client, givenSite);
  const made: ShownClaim[] = [];
  for (let first = 0; first < wishes.length; first += claimsAtOnce) {
    const { claimCodes } = await client.call(
      client.enrollment,
      client.enrollment.batchCreateClaimCodes,
      {
        parent: `sites/${site}`,
        requests: wishes.slice(first, first + claimsAtOnce).map(({ device, model }) => ({
          parent: '',
          deviceId: device ?? '',
          model: model ?? '',
          lifetimeSeconds,
        })),
      },
    );
    made.push(...claimCodes.map(shownOf));
  }
  return made;
};

export const shownOf = (claim: ClaimCode): ShownClaim => ({
  code: claim.code,
  expire_time: claim.expireTime,
  site: claim.name.split('/')[1],
  device: claim.deviceId || undefined,
  model: claim.model || undefined,
});

const openClaims = async (
  client: CloudClient,
  site: string | undefined,
): Promise<OpenClaimRow[]> => {
  const claims = await collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.enrollment, client.enrollment.listClaimCodes, {
        parent: `sites/${site ?? '-'}`,
        pageSize: 1_000,
        pageToken,
      });
      return { items: page.claimCodes, nextPageToken: page.nextPageToken };
    }),
  );
  return claims
    .map((claim) => ({
      claim: idOf(claim.name),
      site: claim.name.split('/')[1],
      device: claim.deviceId || undefined,
      model: claim.model || undefined,
      create_time: claim.createTime,
      expire_time: claim.expireTime,
    }))
    .sort((a, b) => Number(a.create_time) - Number(b.create_time));
};

const theOne = (claims: readonly OpenClaimRow[], beginning: string): OpenClaimRow => {
  const [one, ...others] = claims.filter(({ claim }) => claim.startsWith(beginning));
  if (one !== undefined && others.length === 0) return one;
  throw new HoldfastError(
    one === undefined ? 'RESOURCE_NOT_FOUND' : 'REQUEST_INVALID',
    one === undefined
      ? `there is no open code ${beginning}`
      : `${others.length + 1} open codes begin with ${beginning}: write more of it`,
    { data: { next: 'holdfast device claims' } },
  );
};
