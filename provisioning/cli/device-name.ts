/** The resource name of a device that a person named by its id alone, where only one site has it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Device } from '@holdfast/protos/gen/holdfast/v1/devices';
import { parseDevice } from './arguments.js';
import type { CloudClient } from './cloud-client.js';
import { collect, eachPage } from './context.js';
import type { GatewayClient } from './gateway-client.js';

export const resolveDeviceName = async (
  client: CloudClient,
  text: string,
  givenSite: string | undefined,
): Promise<string> => {
  const { site, device } = parseDevice(text, givenSite);
  if (site !== undefined) return `sites/${site}/devices/${device}`;
  return `sites/${await resolveSite(client, undefined, `SITE/${device}`)}/devices/${device}`;
};

/** The site that was given, or the only one there is. `instead` is what to write where that is not so. Errors: REQUEST_INVALID. */
export const resolveSite = async (
  client: CloudClient,
  given: string | undefined,
  instead = '--site SITE',
): Promise<string> => {
  if (given !== undefined) return given;
  const { sites } = await client.call(client.sites, client.sites.listSites, {
    pageSize: 2,
    pageToken: '',
  });
  const [only, ...others] = sites;
  if (only !== undefined && others.length === 0) return only.name.replace(/^sites\//, '');
  throw new HoldfastError(
    'REQUEST_INVALID',
    `say which site: write ${instead} (holdfast site list)`,
  );
};

export const listDevices = (client: CloudClient, site: string | undefined): Promise<Device[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.devices, client.devices.listDevices, {
        parent: `sites/${site ?? '-'}`,
        pageSize: 1000,
        pageToken,
      });
      return { items: page.devices, nextPageToken: page.nextPageToken };
    }),
  );

/** The id of a device for the gateway that is asked. Errors: REQUEST_INVALID where another site than the gateway's was typed. */
export const deviceAtGateway = async (
  gateway: Pick<GatewayClient, 'status'>,
  text: string,
  givenSite?: string,
): Promise<string> => {
  const { site, device } = parseDevice(text, givenSite);
  if (site === undefined) return device;
  const here = (await gateway.status()).site;
  if (here === site) return device;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `the gateway that you are logged in to is that of the site ${here}, not of ${site}`,
    { data: { next: `holdfast login CODE, with a login code of the gateway of ${site}` } },
  );
};
