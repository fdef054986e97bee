/** What the kill tests share: a load over a broker that is killed in the middle, and what must be true afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from '@holdfast/provisioning/program/free-port';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';

export interface KillRun {
  readonly folder: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface KillOptions {
  /** A program and its arguments that run the broker, as strace. */
  readonly under?: readonly string[];
  /** Kills it with -9 after so many acknowledgements. */
  readonly killAfterAcks?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** How many messages are under way at a time; 4 unless given. */
  readonly lanes?: number;
  /** Of the protocol, in which the load is said; 4 unless given. */
  readonly version?: 4 | 5;
}

export interface KillOutcome {
  /** The broker was killed before the load was over. */
  readonly wasKilled: boolean;
  /** Acknowledged before the kill, and not there after it. */
  readonly lost: string[];
  /** At the end: QoS 2 handled or delivered not exactly once, QoS 1 not at all. */
  readonly wrong: string[];
}

const program = fileURLToPath(new URL('./broker.victim.js', import.meta.url));
const messageCount = 40;

/** A folder in which a subscriber with a session has gone offline, to be copied for each run. */
export async function prepareKillRun(): Promise<KillRun> {
  const root = await mkdtemp(join(tmpdir(), 'broker-killed-'));
  const folder = join(root, 'pristine');
  const port = await freePort();
  await mkdir(folder);
  const broker = await start(folder, port);
  const reader = await open(port, readerOptions);
  await reader.subscribeAsync(['q/#'], { qos: 2 });
  await reader.endAsync();
  await stop(broker, 'SIGTERM');
  return { folder, port, close: () => rm(root, { recursive: true }) };
}

/** One load with one kill, a start that nobody helps, and the rest of the load. */
export async function runKilled(run: KillRun, options: KillOptions): Promise<KillOutcome> {
  const folder = `${run.folder}-${process.hrtime.bigint()}`;
  await cp(run.folder, folder, { recursive: true });
  const acknowledged: string[] = [];
  const writer = connect(urlOf(run.port), {
    ...base,
    clientId: 'writer',
    clean: false,
    reconnectPeriod: 20,
    ...(options.version === 5 && {
      ...{ protocolVersion: 5, properties: { sessionExpiryInterval: 3_600 } },
    }),
  });
  writer.on('error', () => undefined);
  try {
    const victim = launch(folder, run.port, options);
    const exit = once(victim, 'exit');
    let killed = false;
    void exit.then(() => {
      killed = true;
    });
    const onAck = (payload: string): void => {
      if (killed) return;
      acknowledged.push(payload);
      if (acknowledged.length === options.killAfterAcks) signal(victim, 'SIGKILL');
    };
    const work = publishAll(writer, onAck, options.lanes ?? 4);
    // Awaited below; what fails before that is told first.
    work.catch(() => undefined);
    await Promise.race([work, exit]);
    const wasKilled = killed;
    if (!wasKilled) signal(victim, 'SIGKILL');
    await exit;
    const lost = wasKilled ? await findLost(folder, acknowledged) : [];
    const broker = await start(folder, run.port);
    await work;
    await writer.endAsync();
    const delivered = await readAll(run.port);
    await stop(broker, 'SIGKILL');
    return { wasKilled, lost, wrong: await findWrong(folder, delivered) };
  } finally {
    writer.end(true);
    await rm(folder, { recursive: true });
  }
}

/** Every fourth retained, every other queued for the subscriber that is offline; one after the other within each lane. */
async function publishAll(
  writer: MqttClient,
  onAck: (payload: string) => void,
  laneCount: number,
): Promise<void> {
  const lanes = Array.from({ length: laneCount }, async (_, lane) => {
    for (let at = lane; at < messageCount; at += laneCount) {
      const payload = nameOf(at);
      const options = { qos: qosOf(at), retain: at % 4 === 3 } as const;
      const publish = (): Promise<unknown> => writer.publishAsync(topicOf(at), payload, options);
      // The client refuses what it was given while it resends over a connection that breaks; it has not sent it.
      while (!(await publish().then(isDone, isRefusedUnsent)));
      onAck(payload);
    }
  });
  await Promise.all(lanes);
}

const isDone = (): boolean => true;
const isRefusedUnsent = (error: unknown): boolean => {
  if (error instanceof Error && error.message === 'Connection closed') return false;
  throw error;
};

const qosOf = (at: number): 1 | 2 => (at % 4 < 2 ? 2 : 1);
const topicOf = (at: number): string =>
  at % 4 === 3 ? `r/${at}` : at % 2 === 0 ? `q/${at}` : `h/${at}`;
const nameOf = (at: number): string => `${topicOf(at)}=${qosOf(at)}`;

/** What was acknowledged and is not on disk, looked at before anybody starts or sends again. */
async function findLost(folder: string, acknowledged: readonly string[]): Promise<string[]> {
  // Not read-only: the first to open the file after a kill takes the log over, as the broker itself would.
  const database = await openDatabase({ path: join(folder, 'site.db') });
  try {
    const all = async (sql: string): Promise<Set<string>> =>
      new Set((await database.all<{ body: string }>(sql)).map(({ body }) => body));
    const handled = await all('SELECT body FROM handled');
    const queued = await all('SELECT CAST(payload AS TEXT) AS body FROM mqtt_queue');
    const retained = await all('SELECT CAST(payload AS TEXT) AS body FROM mqtt_retained');
    return acknowledged.filter(
      (name) =>
        !handled.has(name) ||
        (name.startsWith('q/') && !queued.has(name)) ||
        (name.startsWith('r/') && !retained.has(name)),
    );
  } finally {
    await database.close();
  }
}

async function findWrong(folder: string, delivered: readonly string[]): Promise<string[]> {
  const database = await openDatabase({ path: join(folder, 'site.db') });
  const handled = await database.all<{ body: string }>('SELECT body FROM handled');
  await database.close();
  const wrong: string[] = [];
  for (let at = 0; at < messageCount; at += 1) {
    const name = nameOf(at);
    const counts = [
      ['handled', handled.filter(({ body }) => body === name).length],
      ...(at % 2 === 0
        ? [['delivered', delivered.filter((one) => one === name).length] as const]
        : []),
    ] as const;
    for (const [what, count] of counts) {
      const isRight = qosOf(at) === 2 ? count === 1 : count >= 1;
      if (!isRight) wrong.push(`${name} was ${what} ${count} times`);
    }
  }
  return wrong;
}

/** What the offline subscriber finds, up to a message that is published last. */
async function readAll(port: number): Promise<string[]> {
  const delivered: string[] = [];
  const reader = connect(urlOf(port), { ...readerOptions, reconnectPeriod: 0 });
  const done = new Promise<void>((resolve) => {
    reader.on('message', (_topic, payload) => {
      if (payload.toString() === 'last') resolve();
      else delivered.push(payload.toString());
    });
  });
  const last = await open(port, { ...base, clientId: 'last' });
  await last.publishAsync('q/last', 'last', { qos: 2 });
  await done;
  await last.endAsync();
  await reader.endAsync();
  return delivered;
}

const base: IClientOptions = { username: 'tester', password: 'x', connectTimeout: 20_000 };
const readerOptions: IClientOptions = { ...base, clientId: 'reader', clean: false };
const urlOf = (port: number): string => `mqtt://127.0.0.1:${port}`;

async function open(port: number, options: IClientOptions): Promise<MqttClient> {
  const client = connect(urlOf(port), { reconnectPeriod: 0, ...options });
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
  });
  return client;
}

function launch(folder: string, port: number, options: KillOptions): ChildProcess {
  const [command = '', ...args] = [
    ...(options.under ?? []),
    process.execPath,
    program,
    folder,
    `${port}`,
  ];
  return spawn(command, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own: the signal must reach the broker, not the tracer alone.
    detached: true,
    // One thread does all writes, so that the n-th write is the same one each time.
    env: { ...process.env, UV_THREADPOOL_SIZE: '1', ...options.environment },
  });
}

async function start(folder: string, port: number): Promise<ChildProcess> {
  const broker = launch(folder, port, {});
  if (broker.stdout === null) throw new Error('no output');
  const line = once(createInterface(broker.stdout), 'line');
  await Promise.race([
    line,
    once(broker, 'exit').then(() => {
      throw new Error('the broker did not start');
    }),
  ]);
  return broker;
}

async function stop(broker: ChildProcess, how: NodeJS.Signals): Promise<void> {
  const exit = once(broker, 'exit');
  signal(broker, how);
  await exit;
}

const signal = ({ pid }: ChildProcess, how: NodeJS.Signals): void => {
  if (pid !== undefined) process.kill(-pid, how);
};
