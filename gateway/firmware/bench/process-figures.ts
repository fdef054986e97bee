/** What the kernel says of a process. */
import { readFileSync } from 'node:fs';

/** CPU of a process and all its threads, seconds; of its children too where they are named. */
export const cpuSecondsOf = (...pids: readonly number[]): number =>
  pids.reduce((all, pid) => all + cpuOf(pid), 0);

const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  // Clock ticks, of which Linux has 100 a second for every program.
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

/** The most memory that it ever had, MiB. */
export const peakMiB = (pid: number): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
