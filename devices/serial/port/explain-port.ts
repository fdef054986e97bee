/** Why a port can't be opened, in words for whoever stands in front of it, with what to do about it. */
import { access, constants, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { fileHolder } from '@holdfast/provisioning/program/port-holder';
import type { PortProblem } from './line-status.js';

export interface ExplainRoots {
  /** Whether we may read and write a file. */
  readonly mayUse?: (path: string) => Promise<boolean>;
  readonly proc?: string;
  readonly groupFile?: string;
  /** Who we are. */
  readonly user?: string;
  /** As systemd knows us: `holdfast-gateway`. */
  readonly service?: string;
}

export const explainPort = async (
  path: string,
  error: unknown,
  {
    mayUse = isOurs,
    proc = '/proc',
    groupFile = '/etc/group',
    user = userInfo().username,
    service,
  }: ExplainRoots = {},
): Promise<PortProblem> => {
  const message = messageOf(error);
  const there = await stat(path).catch(() => null);
  if (there === null) return { reason: `${path} is not there any more` };
  if (!(await mayUse(path))) {
    return whatGivesRights(
      { path, mode: there.mode, gid: there.gid },
      { user, service, groupFile },
    );
  }
  if (/Operation not permitted/.test(message)) {
    return {
      reason: `${path} is of a kind of devices that this service is kept from`,
      next: `sudo systemctl edit ${service ?? 'the service'}, say DeviceAllow=${path} rw under [Service], and restart it`,
    };
  }
  if (/Inappropriate ioctl/.test(message)) {
    return { reason: `${path} is no serial port`, next: 'name a device such as /dev/ttyUSB0' };
  }
  if (/temporarily unavailable|busy|EBUSY/i.test(message)) {
    return {
      reason: `${path} is in use by ${await holderText(path, proc)}`,
      next: 'end that program',
    };
  }
  return {
    reason: `${path}: ${message.replace(/^Error:? /, '').replace(/, cannot open .*$/, '')}`,
  };
};

const isOurs = (path: string): Promise<boolean> =>
  access(path, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );

export interface PortRights {
  readonly path: string;
  readonly mode: number;
  readonly gid: number;
}

/** What has to be done for a user who may not use a port. Groups are read once, when a program begins. */
export const whatGivesRights = async (
  { path, mode, gid }: PortRights,
  {
    user,
    service,
    groupFile = '/etc/group',
  }: { readonly user: string; readonly service?: string | undefined; readonly groupFile?: string },
): Promise<Required<PortProblem>> => {
  const again =
    service === undefined
      ? 'start it anew (by hand: log in again first)'
      : `sudo systemctl restart ${service} (started by hand: log in again, and start it anew)`;
  if (gid === 0 || (mode & 0o060) !== 0o060) {
    const rule = `KERNEL=="${basename(path)}", GROUP="dialout", MODE="0660"`;
    return {
      reason: `${path} may not be used by ${user}: it is root's alone`,
      next: `echo '${rule}' | sudo tee /etc/udev/rules.d/60-holdfast-serial.rules && sudo udevadm trigger, sudo usermod -aG dialout ${user}, then ${again}`,
    };
  }
  const group = await groupName(groupFile, gid);
  return {
    reason: `${path} may not be used by ${user}: it belongs to the group ${group}`,
    next: `sudo usermod -aG ${group} ${user}, then ${again}`,
  };
};

const groupName = async (file: string, gid: number): Promise<string> => {
  const groups = await readFile(file, 'utf8').catch(() => '');
  const found = groups.split('\n').find((line) => line.split(':')[2] === String(gid));
  return found?.split(':')[0] ?? String(gid);
};

/** Who has it as its terminal, which everybody may see, or open, which root may. */
const holderText = async (path: string, proc: string): Promise<string> => {
  const holder =
    (await terminalHolder(path, proc)) ??
    (await fileHolder(await realpath(path).catch(() => path), proc).catch(() => undefined));
  return holder === undefined
    ? 'another program'
    : `${holder.name} (process ${String(holder.pid)})`;
};

export interface TerminalHolder {
  readonly pid: number;
  /** As `agetty`. */
  readonly name: string;
}

/** The process whose controlling terminal a port is, as that of a getty; null where there is none. */
export const terminalHolder = async (
  path: string,
  proc = '/proc',
): Promise<TerminalHolder | null> => {
  const there = await stat(path).catch(() => null);
  // Of what is no device, as of those who have no terminal.
  if (there === null || there.rdev === 0) return null;
  for (const pid of await readdir(proc).catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(join(proc, pid, 'stat'), 'utf8').catch(() => '');
    // The name stands in parentheses and may hold any; what follows is separated by spaces.
    const end = line.lastIndexOf(')');
    const terminal = Number(line.slice(end + 2).split(' ')[4]);
    if (terminal === there.rdev) {
      return { pid: Number(pid), name: line.slice(line.indexOf('(') + 1, end) };
    }
  }
  return null;
};
