/** The installers besides `slots`, made of what is configured under `update`. Errors: `CONFIGURATION_INVALID`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Log } from '../log.js';
import { openBootHandler } from './boot-handler.js';
import { CopiesInstaller } from './copies-installer.js';
import type { Installer, InstallerName, TellUpdate } from './installer.js';
import { openMachine } from './machine.js';
import { Rauc } from './rauc.js';
import { ScriptInstaller } from './script-installer.js';
import { openSwupdate } from './swupdate.js';

/** As configured; empty text is what is not there. */
export interface InstallerSettings {
  readonly installer: InstallerName;
  readonly restartCommand: string;
  readonly healthCommand: string;
  readonly deadlineS: number;
  readonly stableS: number;
  readonly maxStarts: number;
  readonly versionCommand: string;
  readonly bootHandler: string;
  readonly copyA: string;
  readonly copyB: string;
  readonly swupdateKey: string;
  readonly swupdateConfig: string;
}

export interface OpenInstallerOptions {
  readonly directory: string;
  readonly settings: InstallerSettings;
  readonly model: string;
  readonly hardware: string | null;
  readonly environment: Readonly<Record<string, string>>;
}

export const openInstaller = async (
  { log, tell }: { readonly log: Log; readonly tell: TellUpdate },
  { directory, settings, model, hardware, environment }: OpenInstallerOptions,
): Promise<Installer> => {
  const { installer, restartCommand, healthCommand, deadlineS, stableS, maxStarts } = settings;
  if (installer === 'flash') {
    throw invalid('update.installer is flash, and attached names no microcontroller');
  }
  const machine = openMachine({ restartCommand });
  const deps = { machine, tell, log };
  const options = {
    ...{ directory, healthCommand, maxStarts },
    deadlineMs: deadlineS * 1_000,
    stableMs: stableS * 1_000,
  };
  if (installer === 'script') return new ScriptInstaller(deps, { ...options, environment });
  if (machine.restart === null) {
    throw invalid(`update.restartCommand is empty, and ${installer} needs a restart`);
  }
  if (installer === 'rauc') {
    const rauc = new Rauc();
    return CopiesInstaller.open({ ...deps, name: installer, boot: rauc, writer: rauc }, options);
  }
  const { bootHandler, copyA, copyB, versionCommand, swupdateKey, swupdateConfig } = settings;
  if (bootHandler === '') throw invalid('update.bootHandler is empty, and swupdate needs one');
  if (versionCommand === '')
    throw invalid('update.versionCommand is empty, and swupdate needs one');
  return CopiesInstaller.open(
    {
      ...deps,
      name: 'swupdate',
      boot: openBootHandler({
        program: bootHandler,
        copies: { a: copyOf(copyA), b: copyOf(copyB) },
      }),
      writer: openSwupdate({
        selections: { a: copyA, b: copyB },
        versionCommand,
        owner: directory,
        ...(swupdateKey !== '' && { keyFile: swupdateKey }),
        ...(swupdateConfig !== '' && { configFile: swupdateConfig }),
        ...(hardware !== null && { hardware: `${model}:${hardware}` }),
      }),
    },
    options,
  );
};

/** `stable,copy1` is `copy1` to the boot handler. */
const copyOf = (selection: string): string => selection.slice(selection.lastIndexOf(',') + 1);

const invalid = (message: string) => new HoldfastError('CONFIGURATION_INVALID', message);
