/** An agent in front of a microcontroller, made of what is configured under `attached`. Errors: `CONFIGURATION_INVALID`. */

import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import type { FindResetLine } from '../../gpio/reset-line.js';
import type { FlashSettings } from '../../serial/flash/flash-settings.js';
import { loaderProtocols } from '../../serial/flash/loader-protocols.js';
import { type Reset, resetOf } from '../../serial/flash/resets.js';
import { type PortAddress, usualSettings } from '../../serial/port/port-settings.js';
import type { SerialLineDeps } from '../../serial/port/serial-line.js';
import { serialDriver } from '../../serial/serial-drivers.js';
import type { DeviceDeps, DeviceUpdates } from '../device.js';
import type { Credentials } from '../identity.js';
import type { Log } from '../log.js';
import type { Installer } from '../update/installer.js';
import { KeptImages, keptImagesFolder } from '../update/kept-images.js';
import { openUpdateRecord, openUpdater, type UpdaterParts } from '../update/open-updater.js';
import type { Slot } from '../update/update-state.js';
import { AttachedDevice } from './attached-device.js';
import { FlashInstaller } from './flash-installer.js';

export interface AttachedSection {
  readonly address: PortAddress;
  readonly baudRate: number;
  readonly driver: string;
  /** Without it, firmware is refused. */
  readonly flash?: FlashSettings;
}

export interface OpenAttachedDeps {
  readonly credentials: Credentials;
  readonly log: Log;
  readonly line?: SerialLineDeps;
  readonly findResetLine: FindResetLine;
}

export interface OpenAttachedOptions extends AttachedSection {
  readonly dataDir: string;
  /** From the start of an application until it has to have said hello. */
  readonly deadlineMs: number;
  readonly maxStarts: number;
  readonly retryDelayMs?: (attempt: number) => number;
}

/** The parts of a device that are another's where it is a microcontroller. */
export const attachedParts = async (
  deps: OpenAttachedDeps,
  options: OpenAttachedOptions,
): Promise<Required<Pick<DeviceDeps, 'attach' | 'measure' | 'openUpdates'>>> => {
  const { credentials, line, log } = deps;
  const { flash, dataDir, address, baudRate, retryDelayMs } = options;
  const driver = serialDriver(options.driver);
  const reset =
    flash === undefined
      ? null
      : resetOf(flash, {
          findResetLine: deps.findResetLine,
          line: { ...usualSettings, baudRate },
        });
  let board: AttachedDevice;
  return {
    // This machine is not the device.
    measure: async () => ({}),
    attach: async (context) => {
      const { deviceId: device, model } = credentials.identity;
      board = await AttachedDevice.open(
        { ...context, driver, ...(line !== undefined && { line }) },
        { device, model, dataDir, address, baudRate, ...(retryDelayMs && { retryDelayMs }) },
      );
      return board;
    },
    openUpdates: (context) => openFlashing({ log, board, reset }, options, context),
  };
};

export interface FlashingDeps {
  readonly log: Log;
  readonly board: AttachedDevice;
  readonly reset: Reset | null;
}

export type FlashingOptions = Pick<
  OpenAttachedOptions,
  'dataDir' | 'flash' | 'baudRate' | 'deadlineMs' | 'maxStarts'
>;

export const openFlashing = async (
  { log, board, reset }: FlashingDeps,
  { dataDir, flash, baudRate, deadlineMs, maxStarts }: FlashingOptions,
  context: Omit<UpdaterParts, 'log'>,
): Promise<DeviceUpdates> => {
  const parts = { log, ...context };
  const record = await openUpdateRecord(dataDir, parts);
  const kept = new KeptImages({ folder: keptImagesFolder(dataDir) });
  const imageOf = async (slot: Slot | null): Promise<string | undefined> => {
    const app = slot === null ? null : record.data.slots[slot];
    return app === null ? undefined : kept.touch(app.sha256);
  };
  const { updater, close } = await openUpdater(
    parts,
    record,
    async (tell) =>
      flash === undefined || reset === null
        ? notFlashable
        : new FlashInstaller(
            { board, imageOf, tell, log },
            {
              loader: loaderProtocols[flash.protocol],
              part: partNamed(flash.protocol, flash.part),
              baudRate: flash.baudRate ?? baudRate,
              ...{ reset, deadlineMs, maxStarts },
            },
          ),
    { directory: dataDir },
  );
  // Whatever was flashed by other hands is believed, as it says it.
  const stop = board.presence.onHello(({ version }) => {
    if (version === updater.version) return;
    const app = { version, sha256: 'unknown', jobId: null };
    void updater.dispatch({ type: 'found', slot: record.data.active ?? 'a', app });
  });
  return {
    updater,
    // To be asked by a command, as everything else.
    restart: () => false,
    close: async () => {
      stop();
      await close();
    },
  };
};

const refuse = async (): Promise<never> => {
  const message = 'attached.flash is not configured, so nothing is flashed here';
  throw new HoldfastError('UPDATE_INSTALLER_MISMATCH', message);
};

const nothing = async (): Promise<void> => undefined;

const notFlashable: Installer = {
  name: 'flash',
  inspect: refuse,
  install: refuse,
  bootId: async () => 'unknown',
  restart: nothing,
  run: nothing,
  stop: nothing,
};
