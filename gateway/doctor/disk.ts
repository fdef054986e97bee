/** Whether the disk of the data is writable, has room, syncs in time and stays after a reboot; its own word on its health where it gives one. */
import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { bytes } from '@holdfast/provisioning/cli/terminal';
import { type Finding, findingsOf } from './finding.js';

export interface DiskOptions {
  /** The data folder; where it does not exist yet, the folder that will hold it. */
  readonly folder: string;
  /** What telemetry and firmware may grow to, bytes. */
  readonly quotaBytes: number;
}

const { ok, skipped, warning, failure } = findingsOf('disk');

/** A write-ahead log needs this much at least to go on. */
const leastFreeBytes = 256 * 1024 * 1024;
const slowSyncMs = 100;
const syncs = 16;

export const checkDisk = async ({ folder, quotaBytes }: DiskOptions): Promise<Finding[]> => {
  const existing = await nearestFolder(folder);
  const mount = mountOf(existing, await readFile('/proc/self/mountinfo', 'utf8').catch(() => ''));
  return [
    await checkRoom(existing, quotaBytes),
    await checkSync(existing),
    ...checkMount(existing, mount),
    ...(mount === undefined ? [] : [await checkDevice(mount.source)]),
  ];
};

const checkRoom = async (folder: string, quotaBytes: number): Promise<Finding> => {
  const { bavail, bsize, ffree, files } = await statfs(folder);
  const freeBytes = bavail * bsize;
  const data = { freeBytes, quotaBytes };
  const room = `${bytes(freeBytes)} free at ${folder}`;
  if (freeBytes < leastFreeBytes) {
    return failure(
      room,
      `free at least ${bytes(leastFreeBytes)}, or move the data with --data`,
      data,
    );
  }
  if (files > 0 && ffree < 1_000) {
    return failure(
      `${room}, but only ${ffree} files more`,
      'delete files: the disk has no inodes left',
      data,
    );
  }
  if (freeBytes < quotaBytes) {
    return warning(
      `${room}; telemetry and firmware may grow to ${bytes(quotaBytes)}`,
      'lower telemetry.budgetBytes and firmware.quotaBytes, or take a larger disk',
      data,
    );
  }
  return ok(room, data);
};

/** Everything that is acknowledged waits for this. */
const checkSync = async (folder: string): Promise<Finding> => {
  try {
    const times = await timeSyncs(folder);
    const medianMs = times[Math.floor(times.length / 2)] ?? 0;
    const worstMs = times.at(-1) ?? 0;
    const text = `a write is safe after ${medianMs.toFixed(1)} ms (worst of ${syncs}: ${worstMs.toFixed(1)} ms)`;
    const data = { medianMs, worstMs };
    return medianMs > slowSyncMs
      ? warning(text, 'a worn or cheap SD card does this: use an SSD or an industrial card', data)
      : ok(text, data);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EROFS') {
      return failure(
        `${folder} is on a disk that is mounted read-only`,
        'a disk that fails turns so: see "dmesg", check it, and replace it',
      );
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return failure(
        `${folder} may not be written by this user`,
        'run this as the user of the gateway, or with sudo',
      );
    }
    if (code === 'ENOSPC') return failure(`${folder} is on a disk that is full`, 'free some room');
    return failure(
      `${folder} cannot be written: ${messageOf(error)}`,
      'see "dmesg" for what the disk says',
    );
  }
};

const timeSyncs = async (folder: string): Promise<number[]> => {
  const own = await mkdtemp(join(folder, '.doctor-'));
  try {
    const file = await open(join(own, 'sync'), 'w');
    const times: number[] = [];
    try {
      for (let i = 0; i < syncs; i += 1) {
        const began = performance.now();
        await file.write(Buffer.alloc(4_096, i), 0, 4_096, i * 4_096);
        await file.datasync();
        times.push(performance.now() - began);
      }
    } finally {
      await file.close();
    }
    return times.sort((a, b) => a - b);
  } finally {
    await rm(own, { recursive: true, force: true });
  }
};

export interface Mount {
  readonly path: string;
  readonly type: string;
  readonly source: string;
  readonly isReadOnly: boolean;
}

const checkMount = (folder: string, mount: Mount | undefined): Finding[] => {
  if (mount === undefined) return [];
  if (mount.type === 'tmpfs' || mount.type === 'ramfs') {
    return [
      failure(
        `${folder} lies in memory (${mount.type}): a reboot loses it`,
        'choose a folder on a disk with --data',
      ),
    ];
  }
  if (['vfat', 'exfat', 'msdos', 'nfs', 'nfs4', 'cifs'].includes(mount.type)) {
    return [
      warning(
        `${folder} is on ${mount.type}, which SQLite cannot rely on`,
        'choose a folder on ext4 with --data',
      ),
    ];
  }
  return [];
};

/** The mount that holds a path, by mountinfo (proc_pid_mountinfo(5)): the last of the longest. */
export const mountOf = (path: string, mountinfo: string): Mount | undefined => {
  const mounts = mountinfo.split('\n').flatMap((line): Mount[] => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , , at, options = ''] = left.split(' ');
    const [type, source] = right.split(' ');
    if (at === undefined || type === undefined || source === undefined) return [];
    return [
      {
        path: at.replaceAll('\\040', ' '),
        type,
        source,
        isReadOnly: options.split(',').includes('ro'),
      },
    ];
  });
  return mounts
    .filter(
      (mount) => mount.path === '/' || path === mount.path || path.startsWith(`${mount.path}/`),
    )
    .reduce<Mount | undefined>(
      (best, mount) => (best !== undefined && best.path.length > mount.path.length ? best : mount),
      undefined,
    );
};

const run = promisify(execFile);

/** smartctl where it is installed, else what an eMMC says of its own wear. */
const checkDevice = async (source: string): Promise<Finding> => {
  const name = source.replace(/^\/dev\//, '');
  const disk = /^(mmcblk\d+|nvme\d+n\d+)p\d+$/.exec(name)?.[1] ?? name.replace(/\d+$/, '');
  if (!source.startsWith('/dev/')) return skipped(`${source} says nothing of its health`);
  const worn = await readFile(`/sys/block/${disk}/device/life_time`, 'utf8').catch(() => undefined);
  if (worn !== undefined) return judgeWear(disk, worn);
  try {
    const { stdout } = await run('smartctl', ['-H', '-j', `/dev/${disk}`], { timeout: 5_000 });
    const { smart_status: status } = JSON.parse(stdout) as { smart_status?: { passed?: boolean } };
    if (status?.passed === true) return ok(`/dev/${disk} says it is healthy (SMART)`);
    if (status?.passed === false) {
      return failure(
        `/dev/${disk} says it is failing (SMART)`,
        'replace the disk; the data is still there',
      );
    }
  } catch {
    // Not installed, not root, or a disk without it.
  }
  return skipped(`/dev/${disk} gives no word on its health (SMART needs smartctl and root)`);
};

/** `0x01 0x02`: tenths of the life of each kind of cell that are used up (JEDEC eMMC 5.0). */
const judgeWear = (disk: string, text: string): Finding => {
  const tenths = Math.max(...text.trim().split(/\s+/).map(Number));
  const said = `/dev/${disk} has used about ${tenths * 10} % of its life (eMMC)`;
  return tenths >= 9 ? warning(said, 'replace it soon') : ok(said, { usedPercent: tenths * 10 });
};

const nearestFolder = async (folder: string): Promise<string> => {
  for (let at = folder; ; at = dirname(at)) {
    const exists = await statfs(at).then(
      () => true,
      () => false,
    );
    if (exists || at === dirname(at)) return at;
  }
};
