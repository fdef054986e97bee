/** What installs a whole, verified image: `slots`, `rauc`, `swupdate`, `script` or `flash`. Every part may be asked for again after a break. */
import type {
  InstalledApp,
  Installing,
  Release,
  Slot,
  Trial,
  Undoing,
  UpdateEvent,
  UpdateJob,
} from './update-state.js';
import type { Found, InstallContext } from './updater.js';

export const installerNames = ['slots', 'rauc', 'swupdate', 'script', 'flash'] as const;
export type InstallerName = (typeof installerNames)[number];

/** What it tells of itself while something runs or is on trial. */
export type TellUpdate = (
  event: Extract<UpdateEvent, { type: 'launched' | 'healthy' | 'exited' | 'overdue' }>,
) => void;

export interface Installer {
  /** As a release names it. */
  readonly name: InstallerName;
  /** What the machine runs, where others than this agent decide it. */
  found?(): Promise<Found | null>;
  /** Looks through an image before anything changes; rejects what it would not install. */
  inspect(image: string, job: UpdateJob, release: Release, signal: AbortSignal): Promise<void>;
  install(image: string, slot: Slot, under: Installing, context: InstallContext): Promise<Trial>;
  undo?(image: string, under: Undoing, signal: AbortSignal): Promise<void>;
  /** Names the machine's boot: another after each restart. */
  bootId(): Promise<string>;
  restart(under: Undoing, since: string, signal: AbortSignal): Promise<void>;
  run(slot: Slot, app: InstalledApp, trial: Trial | null): Promise<void>;
  stop(): Promise<void>;
  /** Removes what it made of an image outside the slots. */
  discard?(job: UpdateJob): Promise<void>;
  close?(): Promise<void>;
}
