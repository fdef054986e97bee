/** Which process of this machine listens on a TCP port, as far as /proc lets this user see. */
import { readdir, readFile, readlink } from 'node:fs/promises';

export interface PortHolder {
  readonly pid: number;
  /** As `nginx`. */
  readonly name: string;
}

/** undefined when nobody listens, or whose it is may not be seen: processes of others are root's to look at. */
export const portHolder = async (port: number, proc = '/proc'): Promise<PortHolder | undefined> => {
  const inodes = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    for (const inode of listeners(await textOf(`${proc}/net/${table}`), port)) inodes.add(inode);
  }
  if (inodes.size === 0) return undefined;
  return findProcess(proc, (link) => inodes.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? ''));
};

/** The process that has a file open, as a serial port. */
export const fileHolder = (path: string, proc = '/proc'): Promise<PortHolder | undefined> =>
  findProcess(proc, (link) => link === path);

const findProcess = async (
  proc: string,
  isIt: (link: string) => boolean,
): Promise<PortHolder | undefined> => {
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const folder = `${proc}/${pid}/fd`;
    for (const fd of await readdir(folder).catch(() => [])) {
      const link = await readlink(`${folder}/${fd}`).catch(() => '');
      if (!isIt(link)) continue;
      return { pid: Number(pid), name: (await textOf(`${proc}/${pid}/comm`)).trim() };
    }
  }
  return undefined;
};

/** Inodes of the sockets in state LISTEN (0A) on a port; the columns are those of proc_net_tcp. */
const listeners = (table: string, port: number): string[] =>
  table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const isIt = state === '0A' && Number.parseInt(local.split(':')[1] ?? '', 16) === port;
    return isIt ? [inode] : [];
  });

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
