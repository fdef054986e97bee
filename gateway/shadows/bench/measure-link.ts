/** What a site tells after an outage in which one leaf of every shadow changed, in bytes of the line; beside all that it has. */
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { SiteWithCloud } from '../site-with-cloud.js';
import type { Figure } from './figures.js';
import { report, type ShadowDevice } from './shadow-devices.js';

/** About 1 KB of JSON in 16 leaves. */
export const documentOf = (seed: string): JsonObject =>
  Object.fromEntries(
    Array.from({ length: 16 }, (_, at) => [
      `setting_${at}`,
      `${seed} `.repeat(16).slice(0, 46) + String(Math.sin(at + seed.length)).slice(2, 10),
    ]),
  );

export const measureLink = async (
  both: SiteWithCloud,
  devices: readonly ShadowDevice[],
): Promise<Figure[]> => {
  const whole = await outage(both, devices, (device) => documentOf(device.id));
  const changed = await outage(both, devices, () => ({ setting_3: 'changed' }));
  return [
    {
      what: `on the link after an outage, ${devices.length} leaves changed`,
      value: changed / 1_024,
      unit: 'KiB',
      baseline: { what: `all ${devices.length} shadows of 1 KB`, value: whole / 1_024 },
    },
  ];
};

/** Bytes of both directions from the moment that the line is back until nothing is owed. */
const outage = async (
  both: SiteWithCloud,
  devices: readonly ShadowDevice[],
  change: (device: ShadowDevice) => object,
): Promise<number> => {
  both.wan.set('cut');
  await Promise.all(devices.map((device) => report(device, change(device))));
  const before = both.wan.bytes;
  both.wan.set('up');
  await both.inStep(300_000);
  return both.wan.bytes - before;
};
