/** The local API for the firmware cache: what is here and what is to come, and what is kept whatever the plan says. */
import type { CacheRow } from '../../firmware/cache-rows.js';
import type { FirmwareCache } from '../../firmware/firmware-cache.js';
import { actorOf } from './people-routes.js';
import type { Route, RouteRequest } from './routes.js';

export interface FirmwareRoutesDeps {
  readonly firmware: Pick<
    FirmwareCache,
    'rows' | 'pin' | 'bytes' | 'quotaBytes' | 'bytesPerS' | 'problem'
  >;
  readonly now: () => number;
}

export const firmwareRoutes = ({ firmware, now }: FirmwareRoutesDeps): readonly Route[] => {
  const path = '/api/v1/firmware';
  const nameOf = ({ params }: RouteRequest): string => params.get('name') ?? '';
  return [
    {
      method: 'GET',
      path,
      right: 'site.read',
      handle: async () => ({
        bytes: firmware.bytes,
        quota_bytes: firmware.quotaBytes,
        wan_bytes_per_s: firmware.bytesPerS,
        problem: firmware.problem ?? null,
        images: (await firmware.rows()).map(imageView),
      }),
    },
    {
      method: 'POST',
      path: `${path}/:name/pin`,
      right: 'firmware.pin',
      handle: async (request) => {
        const pin = { by: actorOf(request.who), at: now() };
        return named(await firmware.pin(nameOf(request), pin));
      },
    },
    {
      method: 'POST',
      path: `${path}/:name/unpin`,
      right: 'firmware.pin',
      handle: async (request) => named(await firmware.pin(nameOf(request), null)),
    },
  ];
};

const named = ({ model, version, sha256 }: Awaited<ReturnType<FirmwareCache['pin']>>): object => ({
  model,
  version,
  sha256,
});

const imageView = (row: CacheRow): object => ({
  sha256: row.sha256,
  model: row.model,
  version: row.version,
  delta_from: row.deltaFrom,
  size_bytes: row.sizeBytes,
  received_bytes: row.receivedBytes,
  state: row.state,
  waits_for: row.waitsFor,
  urgent: row.isUrgent,
  campaigns: row.campaigns,
  pinned: row.pin,
});
