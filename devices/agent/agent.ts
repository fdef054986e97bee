/** The Pi agent: a device that measures its machine's health and runs an application in two slots. */
import { type Device, openDevice } from './device.js';
import { readHealth } from './health.js';
import type { Credentials } from './identity.js';
import type { Log } from './log.js';
import { settingsFile } from './settings.js';
import { openSlotUpdater } from './update/slot-updater.js';

export interface AgentOptions {
  readonly dataDir: string;
  /** An archive to install when nothing was ever installed. */
  readonly initialApp?: string;
  readonly healthIntervalS?: number;
  readonly askAgainMs?: number;
  readonly signal: AbortSignal;
}

export const openAgent = (
  { credentials, log }: { readonly credentials: Credentials; readonly log: Log },
  { dataDir, initialApp, healthIntervalS, askAgainMs, signal }: AgentOptions,
): Promise<Device> =>
  openDevice(
    {
      credentials,
      log,
      measure: () => readHealth(dataDir),
      openUpdates: async (context) => {
        const { updater, supervisor, close } = await openSlotUpdater(
          {
            log,
            check: async () => ({ installer: 'slots', securityCounter: 0, steps: [] }),
            ...context,
          },
          {
            directory: dataDir,
            signal,
            environment: {
              HOLDFAST_DEVICE_ID: credentials.identity.deviceId,
              HOLDFAST_SETTINGS: settingsFile(dataDir),
            },
            ...(initialApp !== undefined && { initialApp }),
          },
        );
        return {
          updater,
          close,
          restart: () => {
            if (supervisor.runningKey === null) return false;
            supervisor.restart();
            return true;
          },
        };
      },
    },
    {
      dataDir,
      door: 'jobs',
      ...(healthIntervalS !== undefined && { intervalS: healthIntervalS }),
      ...(askAgainMs !== undefined && { askAgainMs }),
    },
  );
