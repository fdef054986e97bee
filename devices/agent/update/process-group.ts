/**
 * Ends whole process groups, also those that a killed predecessor of this process left running.
 *
 * A predecessor's children are found by a mark in their environment, read from `/proc`: it is there from the first instruction on, where
 * a file with process ids would miss what was started just before a power cut or a kill. Without `/proc` nothing is found.
 */
import type { ChildProcess } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { wait } from '@holdfast/provisioning/time/wait';

/** The environment variable that says whose process it is. */
export const groupMarker = 'HOLDFAST_APP_OWNER';

const pollMs = 20;

/** SIGTERM to the child's group, SIGKILL after the grace; resolves when the group was told, at the latest after the grace. */
export const endGroup = async (child: ChildProcess, graceMs: number): Promise<void> => {
  const { pid } = child;
  if (pid === undefined) return;
  if (graceMs > 0) {
    signalGroup(pid, 'SIGTERM');
    await waitUntil(async () => !isGroupAlive(pid), graceMs);
  }
  signalGroup(pid, 'SIGKILL');
};

/** Ends every group with a process that carries the mark of this owner. */
export const endLeftovers = async (owner: string, graceMs: number): Promise<void> => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const groups = await findMarked(owner);
    if (groups.length === 0) return;
    for (const group of groups) signalGroup(group, signal);
    // Asked again instead of by group: what has ended may wait long for a parent to collect it.
    await waitUntil(async () => (await findMarked(owner)).length === 0, graceMs);
  }
};

/** The groups of all processes that carry the mark of this owner. */
export const findMarked = async (owner: string): Promise<number[]> => {
  const mark = `${groupMarker}=${owner}`;
  const names = await readdir('/proc').catch(() => []);
  const found: number[] = [];
  for (const name of names) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    // Processes of others cannot be read, and are none of ours.
    const environment = await readFile(`/proc/${name}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(mark)) found.push(await groupOf(name));
  }
  return [...new Set(found)].filter((group) => group > 1);
};

/** The process group, so that a grandchild leads to its siblings too; 0 when the process has ended. */
const groupOf = async (pid: string): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The program's name, in brackets, may hold anything; the group is the third field behind it.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2] ?? 0);
};

const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false;
  }
};

const isGroupAlive = (group: number): boolean => signalGroup(group, 0);

const waitUntil = async (isDone: () => Promise<boolean>, mostMs: number): Promise<void> => {
  for (let waitedMs = 0; waitedMs < mostMs; waitedMs += pollMs) {
    if (await isDone()) return;
    await wait(pollMs);
  }
};
