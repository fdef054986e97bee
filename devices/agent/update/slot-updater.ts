/** An updater on two slots of this machine, put together: the record, the supervisor, the installer. */
import { installInitialApp } from './initial-app.js';
import type { TellUpdate } from './installer.js';
import {
  type OpenedUpdater,
  openUpdateRecord,
  openUpdater,
  type UpdaterParts,
} from './open-updater.js';
import { SlotInstaller, slotOfRun } from './slot-installer.js';
import { Supervisor } from './supervisor.js';

export interface SlotUpdaterOptions {
  readonly directory: string;
  /** An archive to install when nothing was ever installed. */
  readonly initialApp?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface SlotUpdater extends OpenedUpdater {
  readonly supervisor: Supervisor;
}

export const openSlotUpdater = async (
  parts: UpdaterParts,
  { directory, environment, initialApp, signal }: SlotUpdaterOptions,
): Promise<SlotUpdater> => {
  const record = await openUpdateRecord(directory, parts);
  if (initialApp !== undefined) await installInitialApp(record, directory, initialApp, signal);
  let tell: TellUpdate = () => undefined;
  const supervisor = new Supervisor(
    {
      launched: (key) => tell({ type: 'launched', slot: slotOfRun(key) }),
      healthy: (key) => tell({ type: 'healthy', slot: slotOfRun(key) }),
      overdue: (key) => tell({ type: 'overdue', slot: slotOfRun(key) }),
      exited: (key, error) => {
        parts.log.warn({ slot: slotOfRun(key), error }, 'the application ended');
        tell({ type: 'exited', slot: slotOfRun(key), error });
      },
      said: (line) => parts.log.info({ line }, 'application'),
    },
    { owner: directory, ...(environment && { environment }) },
  );
  await supervisor.open();
  const opened = await openUpdater(
    parts,
    record,
    async (tellUpdate) => {
      tell = tellUpdate;
      return new SlotInstaller({ supervisor }, { directory });
    },
    { directory },
  );
  return { ...opened, supervisor };
};
