/** An updater with one installer, put together: the record, the images, the machine. */
import { join } from 'node:path';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { Log } from '../log.js';
import { ImagePlatform, type ImagePlatformDeps } from './image-platform.js';
import type { Installer, TellUpdate } from './installer.js';
import { parseUpdateState } from './update-record.js';
import { newUpdateState, type UpdateState } from './update-state.js';
import { type UpdatePlatform, type UpdateReporter, Updater } from './updater.js';

export interface UpdaterParts extends Omit<ImagePlatformDeps, 'installer'> {
  readonly reporter: UpdateReporter;
  readonly log: Log;
  /** Told before the update is: what was installed started. */
  readonly onLaunch: () => void;
  /** Lets a test stand between the decisions and what carries them out. */
  readonly wrapRecord?: (record: StoredRecord<UpdateState>) => StoredRecord<UpdateState>;
  readonly wrapPlatform?: (platform: UpdatePlatform) => UpdatePlatform;
}

export interface OpenedUpdater {
  readonly updater: Updater;
  close(): Promise<void>;
}

export const openUpdateRecord = (
  directory: string,
  { log, wrapRecord }: Pick<UpdaterParts, 'log' | 'wrapRecord'>,
): Promise<StoredRecord<UpdateState>> =>
  openRecord({
    path: join(directory, 'update.json'),
    parse: parseUpdateState,
    initial: newUpdateState(),
    log,
  }).then((record) => wrapRecord?.(record) ?? record);

export const openUpdater = async (
  parts: UpdaterParts,
  record: StoredRecord<UpdateState>,
  openInstaller: (tell: TellUpdate) => Promise<Installer>,
  { directory }: { readonly directory: string },
): Promise<OpenedUpdater> => {
  const installer = await openInstaller((event) => {
    if (event.type === 'launched') parts.onLaunch();
    void updater.dispatch(event);
  });
  const platform = new ImagePlatform({ ...parts, installer }, { directory });
  const updater = new Updater({
    record,
    platform: parts.wrapPlatform?.(platform) ?? platform,
    reporter: parts.reporter,
    log: parts.log,
  });
  return {
    updater,
    close: async () => {
      await updater.close();
      await installer.close?.();
    },
  };
};
