/** How long a change takes from one end to the other, with a thousand devices connected. */
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import type { WatchShadowResponse } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { wait } from '@holdfast/provisioning/time/wait';
import { type SiteWithCloud, siteId } from '../site-with-cloud.js';
import { type Figure, percentile } from './figures.js';
import { type Delta, report, type ShadowDevice } from './shadow-devices.js';

/** Changes begun a second, whether the ones before are through or not. */
const perSecond = 20;
const watched = 10;
const warmUp = 40;
const limitMs = 30_000;

export const measureLatency = async (
  both: SiteWithCloud,
  devices: readonly ShadowDevice[],
  samples: number,
): Promise<Figure[]> => {
  // What both ends do for the first time they do slower.
  await paced(warmUp, (turn) => toDevice(both, deviceOf(devices, turn), -1 - turn));
  const down = await paced(samples, (turn) => toDevice(both, deviceOf(devices, turn), turn));
  const watchers = await Promise.all(devices.slice(0, watched).map((one) => watch(both, one)));
  const up = await paced(samples, (turn) => watchers[turn % watchers.length]?.(turn) ?? never());
  return [
    ...figuresOf('UpdateShadow in the cloud to the delta at the device', down),
    ...figuresOf('reported by the device to seen in the cloud', up),
  ];
};

const toDevice = async (
  { api }: SiteWithCloud,
  { id, heard }: ShadowDevice,
  turn: number,
): Promise<number> => {
  const begun = performance.now();
  const came = new Promise<number>((resolve) => {
    const hear = ({ state }: Delta): void => {
      if (state.turn !== turn) return;
      heard.off('delta', hear);
      resolve(performance.now());
    };
    heard.on('delta', hear);
  });
  await api.call(api.shadows, api.shadows.updateShadow, {
    name: `sites/${siteId}/devices/${id}/shadows/-`,
    desired: { turn },
    version: undefined,
  });
  return (await came) - begun;
};

/** Watches a shadow in the cloud; the function that it gives reports a value and says how long that took to be seen. */
const watch = async (
  { api }: SiteWithCloud,
  device: ShadowDevice,
): Promise<(turn: number) => Promise<number>> => {
  const name = `sites/${siteId}/devices/${device.id}/shadows/-`;
  const call = api.shadows.watchShadow({ name, afterVersion: undefined }, api.metadata);
  call.on('error', () => undefined);
  const waiting = new Map<number, (at: number) => void>();
  call.on('data', ({ changes }: WatchShadowResponse) => {
    for (const change of changes) {
      for (const { path, afterJson } of change.changes) {
        if (path.join('.') !== 'reported.turn') continue;
        waiting.get(Number(afterJson))?.(performance.now());
      }
    }
  });
  await once(call, 'data');
  return async (turn) => {
    const begun = performance.now();
    const seen = new Promise<number>((resolve) => waiting.set(turn, resolve));
    await report(device, { turn });
    return (await seen) - begun;
  };
};

const paced = async (
  samples: number,
  work: (turn: number) => Promise<number>,
): Promise<readonly number[]> => {
  const running: Promise<number>[] = [];
  const begun = performance.now();
  for (let turn = 0; turn < samples; turn += 1) {
    await wait(Math.max(0, begun + (turn * 1_000) / perSecond - performance.now()));
    running.push(work(turn));
  }
  return Promise.all(running);
};

const figuresOf = (what: string, times: readonly number[]): Figure[] => [
  { what: `${what}, p50`, value: percentile(times, 0.5), unit: 'ms' },
  {
    what: `${what}, p99`,
    value: percentile(times, 0.99),
    unit: 'ms',
    aim: '< 50 ms, required < 500 ms',
  },
];

const deviceOf = (devices: readonly ShadowDevice[], turn: number): ShadowDevice => {
  const device = devices[(turn * 7) % devices.length];
  if (device === undefined) throw new RangeError('no devices');
  return device;
};

const never = (): Promise<number> => Promise.reject(new RangeError(`nobody within ${limitMs} ms`));
