/** What the bench measures: the gateway program, its path of telemetry, and Debian's mosquitto, each started on a folder of its own. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { hashPassword } from '@holdfast/provisioning/pki/password-hash';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { freePort } from '@holdfast/provisioning/program/free-port';
import { enrol } from '../../faults/enrolled-site.js';

export interface Peer {
  /** The plain listener. */
  readonly port: number;
  readonly mqttsPort?: number;
  readonly fleet?: TestFleet;
  readonly process: ChildProcess;
  /** From the start of the process until it served, ms. */
  readonly startMs: number;
  /** What the load publishes beneath. */
  readonly topic: string;
  readonly user?: { readonly user: string; readonly password: string };
  stop(): Promise<void>;
}

export interface Candidate {
  readonly name: string;
  /** What an acknowledgement means. */
  readonly acknowledgedMeans: string;
  start(folder: string): Promise<Peer>;
}

const password = 'bench-password';
const gatewayProgram = fileURLToPath(new URL('../../../bin/holdfast-gateway.js', import.meta.url));
const telemetryProgram = fileURLToPath(new URL('./bench-telemetry.js', import.meta.url));

/** The program as it is installed. A session that is offline is owed every message, so each is stored before its PUBACK. */
const gateway: Candidate = {
  name: 'holdfast-gateway, queued',
  acknowledgedMeans:
    'fsynced: the copy for a subscriber that is offline is committed (its queue keeps the newest 20,000)',
  async start(parent) {
    const folder = await mkdtemp(join(parent, 'gateway-'));
    const fleet = await createTestFleet();
    await enrol(fleet, folder);
    const config = join(folder, 'bench.yaml');
    const passwordHash = await hashPassword(password);
    const users = [{ user: 'bench', passwordHash, publish: ['load/#'], subscribe: ['load/#'] }];
    await writeFile(
      config,
      JSON.stringify({
        listen: { host: '127.0.0.1', mqttsPort: 0, httpsPort: 0, consolePort: 0 },
        services: { port: 0, users },
      }),
    );
    const program = [gatewayProgram, '--data', folder, '--config', config, '--log-level', 'error'];
    const peer = await startNode(program, {
      topic: 'load',
      fleet,
      user: { user: 'bench', password },
    });
    await leaveSession(peer);
    return peer;
  },
};

const telemetry: Candidate = {
  name: 'holdfast telemetry',
  acknowledgedMeans:
    'fsynced: the point is committed to telemetry.db (broker, native door and store; plain instead of TLS)',
  start: async (parent) =>
    startNode([telemetryProgram, await mkdtemp(join(parent, 'telemetry-'))], {
      topic: 'dt/bench/telemetry',
      user: { user: 'bench', password },
    }),
};

const inMemory: Candidate = {
  name: 'mosquitto, in memory',
  acknowledgedMeans: 'received: nothing is on disk',
  start: (parent) => startMosquitto(parent, 'persistence false\n'),
};

/**
 * It writes its database when something changed, which a publish does when it is queued: for a subscriber that is offline, whose queue has
 * no bound, since a full one changes no more. It does so after the PUBACK has left.
 */
const saved: Candidate = {
  name: 'mosquitto, saved at each change',
  acknowledgedMeans:
    'received: its file is written and fsynced at each change, after the acknowledgement',
  async start(parent) {
    const folder = await mkdtemp(join(parent, 'saved-'));
    const peer = await startMosquitto(
      parent,
      `persistence true\npersistence_location ${folder}/\nautosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n`,
    );
    await leaveSession(peer);
    return peer;
  },
};

export const holdfast: readonly Candidate[] = [gateway, telemetry];
export const mosquitto: readonly Candidate[] = [inMemory, saved];

const startNode = async (
  program: readonly string[],
  more: Pick<Peer, 'topic' | 'fleet' | 'user'>,
): Promise<Peer> => {
  const from = performance.now();
  const child = spawn(process.execPath, [...program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const startMs = performance.now() - from;
  const { ports } = JSON.parse(line) as { ports: { services: number; mqtts?: number } };
  const { services: port, mqtts: mqttsPort } = ports;
  return {
    port,
    ...(mqttsPort === undefined ? {} : { mqttsPort }),
    process: child,
    startMs,
    ...more,
    stop: () => stop(child),
  };
};

const startMosquitto = async (parent: string, persistence: string): Promise<Peer> => {
  const port = await freePort();
  const config = join(await mkdtemp(join(parent, 'mosquitto-')), 'mosquitto.conf');
  await writeFile(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type information\nconnection_messages false\nuser root\n${persistence}`,
  );
  const from = performance.now();
  const child = spawn('mosquitto', ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  await isRunning(child.stderr);
  const startMs = performance.now() - from;
  return { port, process: child, startMs, topic: 'load', stop: () => stop(child) };
};

/** A subscriber that was there once: from now on it is owed what is published. */
const leaveSession = async ({ port, topic, user }: Peer): Promise<void> => {
  const login = user === undefined ? [] : ['-u', user.user, '-P', user.password];
  const subscribe = ['-p', `${port}`, '-i', 'offline', '-c', '-q', '1', '-t', `${topic}/#`, '-E'];
  await promisify(execFile)('mosquitto_sub', [...subscribe, ...login]);
};

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) {
    throw new Error(`it ended under the load: ${child.exitCode ?? child.signalCode}`);
  }
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
};

/** mosquitto says so when it listens; what it says later is read and forgotten. */
const isRunning = (said: Readable): Promise<void> =>
  new Promise((resolve, reject) => {
    createInterface(said)
      .on('line', (line) => {
        if (line.endsWith(' running')) resolve();
      })
      .once('close', () => reject(new Error('mosquitto ended')));
  });

/** Resident memory, MiB. */
export const residentMiB = ({ process: { pid = 0 } }: Peer): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;

/** Bytes it had the kernel write to disk. */
export const writtenBytes = ({ process: { pid = 0 } }: Peer): number =>
  Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);

/** CPU of all its threads, seconds. */
export const cpuSeconds = ({ process: { pid = 0 } }: Peer): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  // Clock ticks, of which Linux has 100 a second for every program.
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
