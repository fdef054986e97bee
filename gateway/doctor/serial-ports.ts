/** Whether the serial lines of the configuration are there and may be used by the gateway, and what else disturbs them. */
import { access, constants, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import {
  type TerminalHolder,
  terminalHolder,
  whatGivesRights,
} from '@holdfast/devices/serial/port/explain-port';
import { findPort, nameOf } from '@holdfast/devices/serial/port/find-port';
import { addressText, type PortAddress } from '@holdfast/devices/serial/port/port-settings';
import {
  listSystemPorts,
  type SystemPort,
  type SystemPortRoots,
} from '@holdfast/devices/serial/port/system-ports';
import { fileHolder, type PortHolder } from '@holdfast/provisioning/program/port-holder';
import { type Finding, findingsOf } from './finding.js';
import { mayUse } from './may-use.js';
import type { ServiceUser } from './service-user.js';

export interface SerialDependencies {
  readonly holderOf: (path: string) => Promise<PortHolder | undefined>;
  /** Whose terminal it is, as a getty's. */
  readonly terminalHolderOf: (path: string) => Promise<TerminalHolder | null>;
  /** Whether a program of this name runs. */
  readonly isRunning: (name: string) => Promise<boolean>;
  readonly roots: SystemPortRoots;
}

export interface SerialOptions {
  readonly lines: readonly { readonly name: string; readonly address: PortAddress }[];
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
  const ports = await listSystemPorts(deps.roots);
  const looks = await Promise.all(lines.map((line) => checkLine(deps, line, ports, options)));
  const used = await Promise.all(looks.map(({ path }) => realName(path)));
  const real = await Promise.all(ports.map(({ path }) => realName(path)));
  const unused = ports
    .filter((_, index) => !used.includes(real[index] ?? ''))
    .map((port) => nameOf(port, ports));
  return [
    ...looks.map(({ finding }) => finding),
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

interface Look {
  readonly finding: Finding;
  /** Where it leads; undefined where nowhere. */
  readonly path?: string;
}

const checkLine = async (
  deps: SerialDependencies,
  { name, address }: SerialOptions['lines'][number],
  ports: readonly SystemPort[],
  { user, gatewayPid }: SerialOptions,
): Promise<Look> => {
  const line = `line ${name}: ${addressText(address)}`;
  const found = await findPort(address, deps.roots);
  if ('reason' in found) {
    const { reason, next = 'look at serial.lines' } = found;
    return { finding: failure(`line ${name}: ${reason}`, next) };
  }
  const { path } = found;
  const look = (finding: Finding): Look => ({ path, finding });
  const there = await stat(path);
  if (!(await isUsable(path, there, user))) {
    const { reason, next } = await whatGivesRights(
      { path, mode: there.mode, gid: there.gid },
      user === undefined
        ? { user: userInfo().username }
        : { user: user.name, service: 'holdfast-gateway' },
    );
    return look(failure(`line ${name}: ${reason}`, next));
  }
  const getty = await deps.terminalHolderOf(path);
  if (getty !== null && getty.pid !== gatewayPid) {
    return look(
      failure(
        `${line} is the terminal of ${getty.name} (process ${getty.pid}), which reads along`,
        `sudo systemctl disable --now serial-getty@${path.replace('/dev/', '')}, and take console= of this port out of the kernel's command line`,
      ),
    );
  }
  const holder = await deps.holderOf(await realName(path));
  if (holder !== undefined && holder.pid !== gatewayPid) {
    return look(
      failure(`${line} is in use by ${holder.name} (process ${holder.pid})`, 'end that program'),
    );
  }
  const port = ports.find((one) => one.path === path);
  if ('path' in address && port !== undefined && port.usb !== null) {
    return look(
      warning(
        `${line} is there, but this name may be another port after it was plugged in again`,
        `name it ${nameOf(port, ports).replace(' ', ': ')}, which stays the same`,
      ),
    );
  }
  return look(ok(`${line} is there`));
};

const realName = async (path: string | undefined): Promise<string> =>
  path === undefined ? '' : realpath(path).catch(() => path);

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

export const systemSerial: SerialDependencies = {
  holderOf: (path) => fileHolder(path),
  terminalHolderOf: (path) => terminalHolder(path),
  isRunning: async (name) => {
    const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
    const names = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')),
    );
    return names.some((comm) => comm.trim() === name);
  },
  roots: {},
};
