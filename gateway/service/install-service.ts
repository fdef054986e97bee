/** `install-service`: has systemd run the gateway, as a user of its own. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { gatewayUnit, serviceName, type UnitOptions } from './units.js';

export interface InstallServiceOptions extends UnitOptions {
  readonly isDryRun: boolean;
  /** Where the units lie. */
  readonly unitFolder?: string;
}

export interface InstalledService {
  readonly unit: string;
  readonly path: string;
  /** What was done, or would be, in its order: commands as a person would type them. */
  readonly steps: readonly string[];
}

export interface InstallServiceDependencies {
  readonly run?: (command: string, args: readonly string[]) => Promise<unknown>;
  readonly userExists?: (name: string) => Promise<boolean>;
  readonly groupExists?: (name: string) => Promise<boolean>;
  readonly isRoot: boolean;
}

const runTool = promisify(execFile);

export const installService = async (
  {
    run = runTool,
    userExists = hasUser,
    groupExists = hasGroup,
    isRoot,
  }: InstallServiceDependencies,
  options: InstallServiceOptions,
): Promise<InstalledService> => {
  const { user, dataDir, isDryRun, unitFolder = '/etc/systemd/system' } = options;
  const unit = gatewayUnit(options);
  const path = join(unitFolder, serviceName);
  const isThere = await userExists(user);
  const groups: string[] = [];
  for (const group of deviceGroups) if (await groupExists(group)) groups.push(group);
  const commands: (readonly string[])[] = [
    ...(isThere
      ? []
      : [
          [
            'useradd',
            '--system',
            '--user-group',
            '--home-dir',
            dataDir,
            '--shell',
            '/usr/sbin/nologin',
            user,
          ],
        ]),
    ...(groups.length === 0 ? [] : [['usermod', '-aG', groups.join(','), user]]),
    // What an enrolment by root has left there is the user's from now on.
    ['mkdir', '-p', dataDir],
    ['chown', '-R', `${user}:${user}`, dataDir],
    ['systemctl', 'daemon-reload'],
    ['systemctl', 'enable', '--now', serviceName],
  ];
  const steps = [`write ${path}`, ...commands.map((command) => command.join(' '))];
  if (isDryRun) return { unit, path, steps };
  if (!isRoot) {
    throw new HoldfastError('NOT_AUTHORISED', 'only root may install a service', {
      data: {
        next: 'sudo holdfast gateway install-service (with --dry-run first, to see what it does)',
      },
    });
  }
  await mkdir(unitFolder, { recursive: true });
  await writeFile(path, unit, { mode: 0o644 });
  for (const [command = '', ...args] of commands) {
    await run(command, args).catch((error: unknown) => {
      throw new HoldfastError('CHILD_FAILED', `${command} ${args.join(' ')}: ${messageOf(error)}`, {
        cause: error,
        data: {
          next:
            command === 'systemctl'
              ? `this machine has no running systemd, or it refuses: journalctl -u ${serviceName}`
              : 'mend that, then run this again: every step may be repeated',
        },
      });
    });
  }
  return { unit, path, steps };
};

/** Debian's of serial lines, and Raspberry Pi OS's of GPIO chips. */
const deviceGroups = ['dialout', 'gpio'];

const hasUser = (name: string): Promise<boolean> => isIn('/etc/passwd', name);
const hasGroup = (name: string): Promise<boolean> => isIn('/etc/group', name);

const isIn = async (file: string, name: string): Promise<boolean> =>
  (await readFile(file, 'utf8')).split('\n').some((line) => line.startsWith(`${name}:`));
