/** A simulated device: the agent's own parts with measurements made up and a pretended reboot. */
import { join } from 'node:path';
import { openRecord } from '@holdfast/provisioning/storage/record';
import { type Device, openDevice } from '../agent/device.js';
import type { Credentials } from '../agent/identity.js';
import type { Log } from '../agent/log.js';
import { parseUpdateState } from '../agent/update/update-record.js';
import {
  newUpdateState,
  type UpdateEvent,
  type UpdateState,
} from '../agent/update/update-state.js';
import { Updater } from '../agent/update/updater.js';
import { SimulatedPlatform } from './simulated-platform.js';

export interface SimulatedDeviceOptions {
  readonly dataDir: string;
  readonly door: 'jobs' | 'older';
  /** What it runs before its first update. */
  readonly initialVersion: string;
  readonly telemetryIntervalS: number;
}

export const openSimulatedDevice = (
  { credentials, log }: { readonly credentials: Credentials; readonly log: Log },
  { dataDir, door, initialVersion, telemetryIntervalS }: SimulatedDeviceOptions,
): Promise<Device> => {
  let temperature = 20;
  return openDevice(
    {
      credentials,
      log,
      measure: async () => {
        temperature += Math.random() - 0.5;
        return { temperature: Math.round(temperature * 100) / 100 };
      },
      openUpdates: async ({ reporter, gateway, check, onLaunch, reconnect }) => {
        const record = await openRecord<UpdateState>({
          path: join(dataDir, 'update.json'),
          parse: parseUpdateState,
          initial: initialState(initialVersion),
          log,
        });
        const platform = new SimulatedPlatform(
          {
            gateway,
            check,
            tell: (event: UpdateEvent) => void updater.dispatch(event),
            reboot: () => {
              onLaunch();
              reconnect();
            },
          },
          { directory: join(dataDir, 'firmware') },
        );
        const updater = new Updater({ record, platform, reporter, log });
        return {
          updater,
          restart: () => {
            onLaunch();
            reconnect();
            return true;
          },
          close: async () => {
            platform.close();
            await updater.close();
          },
        };
      },
    },
    { dataDir, door, intervalS: telemetryIntervalS },
  );
};

const initialState = (version: string): UpdateState => ({
  ...newUpdateState(),
  active: 'a',
  slots: { a: { version, sha256: 'initial', jobId: null }, b: null },
});
