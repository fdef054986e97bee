/** How many updates a second are accepted and on disk, shadow, journal entry and history together. */
import { performance } from 'node:perf_hooks';
import type { SiteWithCloud } from '../site-with-cloud.js';
import type { Figure } from './figures.js';
import { report, type ShadowDevice } from './shadow-devices.js';

/** Updates that each device has under way; ten are allowed. */
const underWay = 4;

export const measureUpdates = async (
  both: SiteWithCloud,
  devices: readonly ShadowDevice[],
  seconds: number,
): Promise<Figure[]> => {
  const alone = await rateOf(devices.slice(0, 1), 1, seconds);
  await both.inStep(300_000);
  const together = await rateOf(devices, underWay, seconds);
  await both.inStep(300_000);
  return [
    {
      what: `durable updates from ${devices.length} devices, WAN up`,
      value: together,
      unit: '/s',
      baseline: { what: 'one device, one at a time (a commit each)', value: alone },
    },
  ];
};

const rateOf = async (
  devices: readonly ShadowDevice[],
  atOnce: number,
  seconds: number,
): Promise<number> => {
  const begun = performance.now();
  const end = begun + seconds * 1_000;
  let accepted = 0;
  const lane = async (device: ShadowDevice): Promise<void> => {
    while (performance.now() < end) {
      await report(device, { count: accepted });
      accepted += 1;
    }
  };
  await Promise.all(devices.flatMap((one) => Array.from({ length: atOnce }, () => lane(one))));
  return accepted / ((performance.now() - begun) / 1_000);
};
