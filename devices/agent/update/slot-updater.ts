/** An updater on two slots of this machine, put together: the record, the supervisor, the platform. */

import { join } from 'node:path';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { Log } from '../log.js';
import { ImagePlatform, type ImagePlatformDeps } from './image-platform.js';
import { installInitialApp } from './initial-app.js';
import { SlotInstaller, slotOfRun } from './slot-installer.js';
import { Supervisor } from './supervisor.js';
import { parseUpdateState } from './update-record.js';
import { newUpdateState, type UpdateState } from './update-state.js';
import { type UpdatePlatform, type UpdateReporter, Updater } from './updater.js';

export interface SlotUpdaterDeps {
  readonly reporter: UpdateReporter;
  readonly gateway: ImagePlatformDeps['gateway'];
  readonly check: ImagePlatformDeps['check'];
  readonly log: Log;
  /** Told before the update is: the application's process started. */
  readonly onLaunch: () => void;
  /** Lets a test stand between the decisions and what carries them out. */
  readonly wrapRecord?: (record: StoredRecord<UpdateState>) => StoredRecord<UpdateState>;
  readonly wrapPlatform?: (platform: UpdatePlatform) => UpdatePlatform;
}

export interface SlotUpdaterOptions {
  readonly directory: string;
  /** An archive to install when nothing was ever installed. */
  readonly initialApp?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface SlotUpdater {
  readonly updater: Updater;
  readonly supervisor: Supervisor;
  close(): Promise<void>;
}

export const openSlotUpdater = async (
  deps: SlotUpdaterDeps,
  options: SlotUpdaterOptions,
): Promise<SlotUpdater> => {
  const { directory, environment, initialApp, signal } = options;
  const opened = await openRecord({
    path: join(directory, 'update.json'),
    parse: parseUpdateState,
    initial: newUpdateState(),
    log: deps.log,
  });
  const record = deps.wrapRecord?.(opened) ?? opened;
  if (initialApp !== undefined) await installInitialApp(record, directory, initialApp, signal);
  const supervisor = new Supervisor(
    {
      launched: (key) => {
        deps.onLaunch();
        void updater.dispatch({ type: 'launched', slot: slotOfRun(key) });
      },
      healthy: (key) => void updater.dispatch({ type: 'healthy', slot: slotOfRun(key) }),
      overdue: (key) => void updater.dispatch({ type: 'overdue', slot: slotOfRun(key) }),
      exited: (key, error) => {
        deps.log.warn({ slot: slotOfRun(key), error }, 'the application ended');
        void updater.dispatch({ type: 'exited', slot: slotOfRun(key), error });
      },
      said: (line) => deps.log.info({ line }, 'application'),
    },
    { owner: directory, ...(environment && { environment }) },
  );
  const platform = new ImagePlatform(
    {
      installer: new SlotInstaller({ supervisor }, { directory }),
      gateway: deps.gateway,
      check: deps.check,
    },
    { directory },
  );
  const updater = new Updater({
    record,
    platform: deps.wrapPlatform?.(platform) ?? platform,
    reporter: deps.reporter,
    log: deps.log,
  });
  await supervisor.open();
  return {
    updater,
    supervisor,
    close: async () => {
      await updater.close();
      await supervisor.close();
    },
  };
};
