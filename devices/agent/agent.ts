/** The Pi agent: a device that measures its machine's health, and installs firmware with the installer it is configured with. */

import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import type { GpioLines } from '../gpio/gpio-lines.js';
import { type ConfiguredLine, checkLines } from '../gpio/line-settings.js';
import { openGpio } from '../gpio/open-gpio.js';
import { findResetLine } from '../gpio/reset-line.js';
import { type AttachedSection, attachedParts } from './attached/open-attached.js';
import type { JobHandler } from './configuration.js';
import {
  type Device,
  type DeviceDeps,
  type DeviceUpdates,
  openDevice,
  type UpdatesContext,
} from './device.js';
import { readHealth } from './health.js';
import type { Credentials } from './identity.js';
import { openJobHandlers } from './job-command.js';
import type { Log } from './log.js';
import { settingsFile } from './settings.js';
import { type InstallerSettings, openInstaller } from './update/open-installer.js';
import { openUpdateRecord, openUpdater } from './update/open-updater.js';
import { openSlotUpdater } from './update/slot-updater.js';

export interface AgentOptions {
  readonly dataDir: string;
  /** An archive to install when nothing was ever installed. */
  readonly initialApp?: string;
  readonly healthIntervalS?: number;
  readonly askAgainMs?: number;
  /** Another installer than `slots`. */
  readonly update?: InstallerSettings;
  /** The device is a microcontroller behind this machine. */
  readonly attached?: AttachedSection;
  /** The revision of the hardware. */
  readonly hardware?: string;
  /** The root of the firmware's metadata to begin with, where it is not the first that the plan names. */
  readonly firstRoot?: TrustedState;
  readonly jobHandlers?: readonly JobHandler[];
  /** GPIO lines of this machine. */
  readonly gpio?: { readonly lines: readonly ConfiguredLine[] };
  readonly signal: AbortSignal;
}

interface AgentDeps {
  readonly credentials: Credentials;
  readonly log: Log;
  /** The lines of this machine, unless a test has others. */
  readonly gpio?: GpioLines;
}

export const openAgent = async (deps: AgentDeps, options: AgentOptions): Promise<Device> => {
  const { credentials, log } = deps;
  const { dataDir, healthIntervalS, askAgainMs, jobHandlers: handlers = [] } = options;
  const { hardware, firstRoot } = options;
  const { lines = [] } = options.gpio ?? {};
  const { gpio = openGpio() } = deps;
  checkLines(lines);
  if (options.attached !== undefined) requireResets(lines);
  return openDevice(
    {
      credentials,
      log,
      ...(await partsOf({ ...deps, gpio }, options)),
      io: { gpio, lines },
      jobs: await openJobHandlers({ log }, { handlers, owner: `${dataDir}#jobs` }),
    },
    {
      dataDir,
      door: 'jobs',
      ...(healthIntervalS !== undefined && { intervalS: healthIntervalS }),
      ...(askAgainMs !== undefined && { askAgainMs }),
      ...(hardware !== undefined && { hardware }),
      ...(firstRoot !== undefined && { firstRoot }),
    },
  );
};

/** Where the device is a microcontroller, the shadow is its own. */
const requireResets = (lines: readonly ConfiguredLine[]): void => {
  const other = lines.find(({ role }) => role !== 'reset');
  if (other === undefined) return;
  throw new HoldfastError(
    'CONFIGURATION_INVALID',
    `gpio.lines: ${other.name}: the device is the microcontroller (attached), so lines of this machine may only reset it`,
  );
};

const partsOf = async (
  deps: AgentDeps & { readonly gpio: GpioLines },
  options: AgentOptions,
): Promise<Pick<DeviceDeps, 'attach' | 'measure' | 'openUpdates'>> => {
  const { dataDir, attached, update } = options;
  if (attached !== undefined) {
    const { deadlineS = 30, maxStarts = 3 } = update ?? {};
    return attachedParts(
      { ...deps, findResetLine: findResetLine(deps, options.gpio?.lines ?? []) },
      { ...attached, dataDir, deadlineMs: deadlineS * 1_000, maxStarts },
    );
  }
  return {
    measure: () => readHealth(dataDir),
    openUpdates: (context) =>
      update === undefined || update.installer === 'slots'
        ? openSlots(deps, options, context)
        : openOther(deps, options, update, context),
  };
};

const environmentOf = ({ identity }: Credentials, dataDir: string) => ({
  HOLDFAST_DEVICE_ID: identity.deviceId,
  HOLDFAST_SETTINGS: settingsFile(dataDir),
});

const openSlots = async (
  { credentials, log }: AgentDeps,
  { dataDir, initialApp, signal }: AgentOptions,
  context: UpdatesContext,
): Promise<DeviceUpdates> => {
  const { updater, supervisor, close } = await openSlotUpdater(
    { log, ...context },
    {
      directory: dataDir,
      signal,
      environment: environmentOf(credentials, dataDir),
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
};

const openOther = async (
  { credentials, log }: AgentDeps,
  { dataDir, hardware }: AgentOptions,
  settings: InstallerSettings,
  context: UpdatesContext,
): Promise<DeviceUpdates> => {
  const parts = { log, ...context };
  const { updater, close } = await openUpdater(
    parts,
    await openUpdateRecord(dataDir, parts),
    (tell) =>
      openInstaller(
        { log, tell },
        {
          directory: dataDir,
          settings,
          model: credentials.identity.model,
          hardware: hardware ?? null,
          environment: environmentOf(credentials, dataDir),
        },
      ),
    { directory: dataDir },
  );
  // What runs is not this agent's to restart.
  return { updater, close, restart: () => false };
};
