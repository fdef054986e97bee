/** Whether the serial lines of the configuration are there and may be used by the gateway, and what else disturbs them. */
import { access, constants, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileHolder, type PortHolder } from '@holdfast/provisioning/program/port-holder';
import { type Finding, findingsOf } from './finding.js';
import { mayUse } from './may-use.js';
import type { ServiceUser } from './service-user.js';

export interface SerialDependencies {
  readonly holderOf: (path: string) => Promise<PortHolder | undefined>;
  /** Whether a program of this name runs. */
  readonly isRunning: (name: string) => Promise<boolean>;
  /** Every serial port of the machine, by the name that stays the same (`/dev/serial/by-id/…`) where it has one. */
  readonly listPorts: () => Promise<readonly string[]>;
}

export interface SerialOptions {
  readonly lines: readonly { readonly device: string; readonly path: string }[];
  /** Whose rights count; undefined: those of whoever asks. */
  readonly user: ServiceUser | undefined;
  readonly gatewayPid: number | undefined;
}

const { ok, warning, failure } = findingsOf('serial');

export const checkSerialPorts = async (
  deps: SerialDependencies,
  options: SerialOptions,
): Promise<Finding[]> => {
  const { lines } = options;
  const ports = await deps.listPorts();
  const found = await Promise.all(lines.map((line) => checkLine(deps, line, ports, options)));
  const real = await Promise.all(lines.map(({ path }) => realpath(path).catch(() => path)));
  const unused = await without(ports, real);
  return [
    ...found,
    ...(lines.length > 0 && (await deps.isRunning('ModemManager'))
      ? [
          warning(
            'ModemManager runs, and speaks to every serial port that it finds',
            'sudo systemctl disable --now ModemManager, or exempt the ports by a udev rule (ID_MM_DEVICE_IGNORE)',
          ),
        ]
      : []),
    ...(unused.length > 0 ? [ok(`not used: ${unused.join(', ')}`, { unused })] : []),
    ...(lines.length === 0 && unused.length === 0 ? [ok('no serial ports, and none wanted')] : []),
  ];
};

const checkLine = async (
  deps: SerialDependencies,
  { device, path }: { readonly device: string; readonly path: string },
  ports: readonly string[],
  { user, gatewayPid }: SerialOptions,
): Promise<Finding> => {
  const line = `line ${device}: ${path}`;
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) {
    const seen =
      ports.length === 0 ? 'no serial port is there at all' : `there are ${ports.join(', ')}`;
    return failure(`${line} is not there`, `plug it in, or name another in serial.lines: ${seen}`);
  }
  if (!there.isCharacterDevice()) {
    return failure(
      `${line} is no serial port`,
      'name a device such as /dev/ttyUSB0 in serial.lines',
    );
  }
  if (!(await isUsable(path, there, user))) {
    const who = user?.name ?? 'this user';
    return failure(
      `${line} may not be used by ${who}`,
      `sudo usermod -aG ${await groupName(there.gid)} ${user?.name ?? '$USER'}, then log in again (a service: restart it)`,
    );
  }
  const holder = await deps.holderOf(await realpath(path));
  if (holder !== undefined && holder.pid !== gatewayPid) {
    return failure(
      `${line} is in use by ${holder.name} (process ${holder.pid})`,
      'end that program',
    );
  }
  if (/^\/dev\/tty(USB|ACM)\d+$/.test(path)) {
    const stable = (await stableNames(ports)).get(path);
    const next =
      stable === undefined
        ? 'name it by /dev/serial/by-path/… , which stays the same'
        : `name it ${stable}, which stays the same`;
    return warning(`${line} is there, but this name may be another port after a reboot`, next);
  }
  return ok(`${line} is there`);
};

const isUsable = (
  path: string,
  there: { readonly mode: number; readonly uid: number; readonly gid: number },
  user: ServiceUser | undefined,
): boolean | Promise<boolean> =>
  user === undefined
    ? access(path, constants.R_OK | constants.W_OK).then(
        () => true,
        () => false,
      )
    : mayUse(there, user);

const groupName = async (gid: number): Promise<string> => {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '');
  return (
    groups
      .split('\n')
      .find((line) => line.split(':')[2] === String(gid))
      ?.split(':')[0] ?? String(gid)
  );
};

const stableNames = async (ports: readonly string[]): Promise<ReadonlyMap<string, string>> =>
  new Map(await Promise.all(ports.map(async (port) => [await realpath(port), port] as const)));

const without = async (ports: readonly string[], used: readonly string[]): Promise<string[]> => {
  const real = await Promise.all(ports.map((port) => realpath(port).catch(() => port)));
  return ports.filter((_, index) => !used.includes(real[index] ?? ''));
};

export const systemSerial: SerialDependencies = {
  holderOf: (path) => fileHolder(path),
  isRunning: async (name) => {
    const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
    const names = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')),
    );
    return names.some((comm) => comm.trim() === name);
  },
  listPorts: async () => {
    const folder = '/dev/serial/by-id';
    const byId = (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
    const named = await Promise.all(byId.map((path) => realpath(path)));
    const others = (await readdir('/dev').catch(() => []))
      .filter((name) => /^tty(USB|ACM|AMA)\d+$/.test(name))
      .map((name) => join('/dev', name));
    return [...byId, ...others.filter((path) => !named.includes(path))];
  },
};
