/** What the tests of killed writers share: running one, and comparing what it said with what is on disk. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openDatabase } from './database.js';

export interface WriterRun {
  readonly path: string;
  readonly firstId: number;
  readonly count: number;
  readonly callers: number;
  /** It kills itself with -9 as soon as so many were acknowledged. */
  readonly killAfterAcks?: number;
  /** A program and its arguments that run the writer, as strace. */
  readonly under?: readonly string[];
}

export interface WriterSaid {
  readonly acked: readonly number[];
  readonly failed: readonly string[];
  readonly rebuilt: boolean;
  /** It ran to its end and closed the store. */
  readonly closed: boolean;
}

export async function runWriter(run: WriterRun): Promise<WriterSaid> {
  const program = fileURLToPath(new URL('commit-queue.writer.js', import.meta.url));
  const { path, firstId, count, callers, killAfterAcks = 0, under = [] } = run;
  const [command = '', ...args] = [
    ...under,
    process.execPath,
    program,
    path,
    firstId,
    count,
    callers,
    killAfterAcks,
  ].map(String);
  // One thread for the database, so that the n-th system call is the same one each time.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const acked: number[] = [];
  const failed: string[] = [];
  let rebuilt = false;
  let closed = false;
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, ...rest] = line.split(' ');
    if (what === 'acked') acked.push(Number(rest[0]));
    else if (what === 'failed') failed.push(rest.join(' '));
    else if (what === 'rebuilt') rebuilt = true;
    else if (what === 'closed') closed = true;
  }
  await exited;
  return { acked, failed, rebuilt, closed };
}

export interface Found {
  /** Acknowledged, but not there: must be empty. */
  readonly lost: readonly number[];
  /** One half without the other, or twice: must be empty. */
  readonly torn: readonly number[];
  readonly stored: number;
}

/** Compares the file with what was acknowledged in all runs so far. */
export async function findLost(path: string, acked: readonly number[]): Promise<Found> {
  const database = await openDatabase({ path });
  try {
    const halves = await database.all<{ id: number }>('SELECT id FROM halves');
    const torn = await database.all<{
      id: number;
    }>(`SELECT id FROM halves WHERE (SELECT count(*) FROM others o WHERE o.id = halves.id) <> 1
      UNION SELECT id FROM others WHERE id NOT IN (SELECT id FROM halves)`);
    const there = new Set(halves.map(({ id }) => id));
    return {
      lost: acked.filter((id) => !there.has(id)),
      torn: torn.map(({ id }) => id),
      stored: there.size,
    };
  } finally {
    await database.close();
  }
}
