/** One life of the machine: from power on until its plug is pulled. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncate, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { parseReadyLine } from '@holdfast/provisioning/program/ready';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { GuestImages } from './guest-images.js';

export interface GuestOptions {
  readonly images: GuestImages;
  /** The disk that is written. */
  readonly data: string;
  /** What is written to it is noted here. */
  readonly log: string;
  /** Of this machine; leads to the gateway's port for devices. */
  readonly port: number;
  /** Below the gateway's folder. */
  readonly program: string;
}

export interface Guest {
  /** Pulls the plug. */
  cut(): Promise<void>;
}

const bootLimitMs = 240_000;
const logBytes = 128 * 1024 * 1024;

/** Resolves when the gateway in it is ready; rejects with what it said when it does not come up by itself. */
export const bootGuest = async (options: GuestOptions): Promise<Guest> => {
  const { images, data, log, port, program } = options;
  // Sparse, and empty: the end of the log is where it is zero.
  await writeFile(log, '');
  await truncate(log, logBytes);
  const blocks = [
    { 'node-name': 'file', driver: 'file', filename: data },
    { 'node-name': 'log', driver: 'file', filename: log },
    { 'node-name': 'data', driver: 'blklogwrites', file: 'file', log: 'log' },
  ].flatMap((block) => ['-blockdev', JSON.stringify(block)]);
  const machine = spawn(
    'qemu-system-x86_64',
    [
      // In software: hardware virtualisation inside a virtual machine of CI is there at times and does not always work.
      ...[
        '-accel',
        'tcg,thread=multi,tb-size=512',
        '-cpu',
        'max',
        '-smp',
        '2',
        '-m',
        '1024',
        '-no-reboot',
      ],
      ...['-nographic', '-nodefaults', '-serial', 'stdio'],
      ...['-kernel', images.kernel, '-initrd', images.initrd],
      ...['-append', `console=ttyS0 quiet panic=-1 holdfast.program=${program}`],
      ...['-drive', `file=${images.system},format=raw,if=virtio,readonly=on`],
      ...blocks,
      ...['-device', 'virtio-blk-pci,drive=data,addr=0x10'],
      ...['-netdev', `user,id=lan,hostfwd=tcp:127.0.0.1:${port}-:8883`],
      ...['-device', 'virtio-net-pci,netdev=lan,addr=0x11,romfile='],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const said: string[] = [];
  const ready = new Promise<void>((resolve) => {
    for (const output of [machine.stdout, machine.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        said.push(line);
        // The firmware's escape codes stand before the first line of the machine's console.
        const [text] = line.match(/{.*}/) ?? [''];
        if (parseReadyLine(text) !== undefined) resolve();
      });
    }
  });
  const exited = once(machine, 'exit');
  const cut = async (): Promise<void> => {
    machine.kill('SIGKILL');
    await exited;
  };
  const endedEarly = exited.then(() => {
    throw new Error('it went off');
  });
  endedEarly.catch(() => undefined);
  try {
    await withDeadline(Promise.race([ready, endedEarly]), bootLimitMs, { doing: 'starting' });
  } catch (cause) {
    await cut();
    throw new Error(`the gateway does not come up:\n${said.slice(-40).join('\n')}`, { cause });
  }
  return { cut };
};
