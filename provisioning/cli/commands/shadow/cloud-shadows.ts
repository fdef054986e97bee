/** Shadows over the control plane's gRPC API. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Shadow, ShadowWrite } from '@holdfast/protos/gen/holdfast/v1/shadows';
import type { CloudClient } from '../../cloud-client.js';
import { collect, eachPage } from '../../context.js';
import { resolveDeviceName } from '../../device-name.js';
import type { ShadowRow, WriteRow } from './shadow-rows.js';
import type { ShadowChoice, ShadowSource } from './shadow-source.js';

export const cloudShadows = (client: CloudClient): ShadowSource => {
  const { shadows } = client;
  const deviceOf = ({ device, site }: Omit<ShadowChoice, 'name'>): Promise<string> =>
    resolveDeviceName(client, device, site);
  const nameOf = async (shadow: ShadowChoice): Promise<string> =>
    `${await deviceOf(shadow)}/shadows/${shadow.name}`;
  return {
    whenItReaches: 'it reaches the device when its site is in contact',

    get: async (shadow) =>
      rowOf(await client.call(shadows, shadows.getShadow, { name: await nameOf(shadow) })),

    async list(of) {
      const parent = await deviceOf(of);
      const all = eachPage(async (pageToken) => {
        const page = await client.call(shadows, shadows.listShadows, {
          parent,
          pageSize: 1000,
          pageToken,
        });
        return { items: page.shadows, nextPageToken: page.nextPageToken };
      });
      return (await collect(all)).map(({ name, version, updateTime }) => ({
        shadow: name.split('/').at(-1) ?? '',
        version: Number(version),
        update_time: updateTime,
        conflicts: undefined,
      }));
    },

    set: async (shadow, desired, version) =>
      rowOf(
        await client.call(shadows, shadows.updateShadow, {
          name: await nameOf(shadow),
          desired,
          version: version === undefined ? undefined : BigInt(version),
        }),
      ),

    async conflicts({ site, device, settled }) {
      const parent =
        device === undefined ? `sites/${site ?? '-'}` : await deviceOf({ device, site });
      const all = eachPage(async (pageToken) => {
        const page = await client.call(shadows, shadows.listConflicts, {
          parent,
          pageSize: 1000,
          pageToken,
          includeSettled: settled,
        });
        return { items: page.conflicts, nextPageToken: page.nextPageToken };
      });
      const conflicts = (await collect(all)).map((conflict) => ({
        conflict: '',
        shadow: conflict.shadow,
        path: conflict.path,
        winner: writeOf(conflict.winner),
        loser: writeOf(conflict.loser),
        detect_time: conflict.detectTime,
        settlement: undefined,
      }));
      return { conflicts, dropped: 0 };
    },

    settle: async () => atTheGateway(),
    changes: async () => atTheGateway(),
    watch: () => atTheGateway(),
  };
};

const atTheGateway = (): never => {
  throw new HoldfastError('REQUEST_INVALID', 'only a gateway can do this yet', {
    data: { next: 'at the site: holdfast --gateway shadow …' },
  });
};

const rowOf = ({ version, ...shadow }: Shadow): ShadowRow => ({
  ...shadow,
  version: Number(version),
});

const writeOf = (write: ShadowWrite | undefined): WriteRow => ({
  writer: write?.writer ?? '',
  time: write?.time,
  trusted: true,
  value_json: write?.valueJson ?? '',
});
