/** What is found on a disk after the power is back: its files, what of the promises is in them, and whether the gateway starts on them. */
import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { startChild } from '@holdfast/provisioning/program/children';
import { findLost } from '../faults/kept-promises.js';
import type { Account } from '../faults/site-load.js';
import { runTool } from './guest-images.js';

const gateway = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));

/** In words; empty when everything promised is there and it starts unaided. */
export const faultsOn = async (
  disk: string,
  folder: string,
  account: Account,
): Promise<string[]> => {
  try {
    const files = await readFiles(disk, folder);
    const lost = await findLost(files, account);
    await start(files);
    const aside = (await readdir(files)).filter((name) => name.includes('.corrupt'));
    return [...lost, ...aside];
  } catch (error) {
    return [messageOf(error)];
  }
};

/** Out of a copy, as a mount would find them, but without one. */
const readFiles = async (disk: string, folder: string): Promise<string> => {
  await rm(folder, { recursive: true, force: true });
  const files = join(folder, 'files');
  await mkdir(files, { recursive: true });
  const copy = join(folder, 'disk.img');
  await copyFile(disk, copy);
  try {
    runTool('e2fsck', ['-fp', copy]);
  } catch (error) {
    // 1 is "set right": the journal of ext4 was replayed, as by any mount.
    if ((error as { status?: number }).status !== 1) throw error;
  }
  runTool('debugfs', ['-R', `rdump / ${files}`, copy]);
  return files;
};

const start = async (folder: string): Promise<void> => {
  const ports = ['MQTTS_PORT', 'HTTPS_PORT', 'CONSOLE_PORT'];
  const child = await startChild({
    bin: gateway,
    args: ['--data', folder, '--log-level', 'warn'],
    env: {
      HOLDFAST_LISTEN__HOST: '127.0.0.1',
      ...Object.fromEntries(ports.map((name) => [`HOLDFAST_LISTEN__${name}`, '0'])),
    },
    timeoutMs: 60_000,
  });
  await child.kill();
};
