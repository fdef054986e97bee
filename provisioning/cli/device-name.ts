/** The resource name of a device that a person named by its id alone, where only one site has it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Device } from '@holdfast/protos/gen/holdfast/v1/devices';
import { parseDevice } from './arguments.js';
import type { CloudClient } from './cloud-client.js';
import { collect, eachPage } from './context.js';

export const resolveDeviceName = async (
  client: CloudClient,
  text: string,
  givenSite: string | undefined,
): Promise<string> => {
  const { site, device } = parseDevice(text, givenSite);
  if (site !== undefined) return `sites/${site}/devices/${device}`;
  const sites = await client.call(client.sites, client.sites.listSites, {
    pageSize: 2,
    pageToken: '',
  });
  const [only] = sites.sites;
  if (only !== undefined && sites.sites.length === 1) return `${only.name}/devices/${device}`;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `say which site: write SITE/${device} (holdfast site list)`,
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
