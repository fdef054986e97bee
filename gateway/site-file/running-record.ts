/** What the running gateway runs with, for whoever compares: a record beside its data, gone when it ends in good order. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';

const schema = v.object({
  pid: v.number(),
  /** When the process began, in ticks since the boot: a number that comes with the pid, and is not given twice with it. */
  start_ticks: v.string(),
  started_at: v.number(),
  version: v.string(),
  /** Of the applied configuration; null with the defaults or a file that was named. */
  revision: v.nullable(v.number()),
  /** The file that `--config` named; then nothing that is applied counts. */
  config_file: v.nullable(v.string()),
  /** Settings that a flag or a variable has set, and which. */
  overrides: v.record(v.string(), v.string()),
  configuration: v.record(v.string(), v.unknown()),
  ports: v.record(v.string(), v.number()),
});
export type RunningGateway = v.InferOutput<typeof schema>;

const pathIn = (dataDir: string): string => join(dataDir, 'running.json');

export const writeRunning = async (
  { log }: { readonly log: StoreLog },
  dataDir: string,
  running: Omit<RunningGateway, 'pid' | 'start_ticks'>,
): Promise<void> => {
  const record = await openRunning(dataDir, log);
  const start_ticks = (await startTicks(process.pid)) ?? '';
  await record.update(() => ({ ...running, pid: process.pid, start_ticks }));
};

export const clearRunning = async (dataDir: string): Promise<void> => {
  // The version before first: alone, it would be taken for the newest.
  await rm(`${pathIn(dataDir)}.previous`, { force: true });
  await rm(pathIn(dataDir), { force: true });
};

/** undefined when none runs on this folder. */
export const readRunning = async (
  { log }: { readonly log: StoreLog },
  dataDir: string,
): Promise<RunningGateway | undefined> => {
  const { data } = await openRunning(dataDir, log);
  return data !== null && (await isRunning(data)) ? data : undefined;
};

export const isRunning = async ({
  pid,
  start_ticks,
}: Pick<RunningGateway, 'pid' | 'start_ticks'>): Promise<boolean> =>
  (await startTicks(pid)) === start_ticks;

const openRunning = (dataDir: string, log: StoreLog) =>
  openRecord<RunningGateway | null>({
    path: pathIn(dataDir),
    parse: v.parser(v.nullable(schema)),
    initial: null,
    log,
  });

/** Field 22 of proc_pid_stat(5); undefined when there is no such process. */
const startTicks = async (pid: number): Promise<string | undefined> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name of the program stands in parentheses and may hold anything.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
};
