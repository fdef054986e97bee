/**
 * A program that tests kill: it stores pairs of rows through many callers at once and says on stdout, by itself and synchronously,
 * which were acknowledged. `node commit-queue.writer.js DATABASE FIRST_ID COUNT CALLERS [KILL_AFTER_ACKS]`
 * With the last it kills itself with -9 the moment that acknowledgement is out, before anything else can happen.
 */
import { writeSync } from 'node:fs';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { openStore } from './store.js';
import { appendTable } from './write.js';

const [path = '', firstId = '0', count = '1000', callers = '50', killAfterAcks = '0'] =
  process.argv.slice(2);
const say = (line: string): number => writeSync(1, `${line}\n`);
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const store = await openStore({
  path,
  log: silent,
  migrations: [
    {
      version: 1,
      name: 'pairs',
      sql: `CREATE TABLE halves (id INTEGER PRIMARY KEY, body TEXT) STRICT;
        CREATE TABLE others (seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL, body TEXT) STRICT;`,
    },
  ],
});
if (store.rebuilt !== undefined) say(`rebuilt ${store.rebuilt.reason}`);

const others = appendTable('others', ['id', 'body']);
const end = Number(firstId) + Number(count);
let next = Number(firstId);
let acks = 0;

/** Most pairs are plain writes, some transacts; both halves of a pair are there or none. */
async function storePair(id: number): Promise<void> {
  const half = {
    sql: 'INSERT INTO halves (id, body) VALUES (?, ?)',
    params: [id, 'h'.repeat(300)],
  };
  const other = { into: others, row: [id, 'o'.repeat(300)] };
  if (id % 10 === 0) await store.commits.transact((tx) => tx.write([half, other]));
  else await store.commits.commit([half, other]);
}

async function call(): Promise<void> {
  while (next < end) {
    const id = next++;
    try {
      await storePair(id);
      say(`acked ${id}`);
      if (++acks === Number(killAfterAcks)) process.kill(process.pid, 'SIGKILL');
    } catch (error) {
      say(`failed ${id} ${messageOf(error).split(':', 1)[0]}`);
    }
  }
}

say('ready');
await Promise.all(Array.from({ length: Number(callers) }, call));
await store.close();
say('closed');
