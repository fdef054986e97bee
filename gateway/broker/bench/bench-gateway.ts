/**
 * `npm run bench:gateway`: the broker's figures and mosquitto's beside them, in one run on one machine, medians of RUNS (default 5).
 * The load generator is C and built here; it needs `cc`, and the comparison Debian's package `mosquitto`.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const runs = Number(process.env.RUNS ?? 5);
const seconds = Number(process.env.SECONDS ?? 5);
const source = fileURLToPath(new URL('../../../broker/bench/mqtt-load.c', import.meta.url));
const program = fileURLToPath(new URL('./bench-broker.js', import.meta.url));

/** What one line of the generator says. */
interface Load {
  readonly acknowledged: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}
interface Peer {
  readonly port: number;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}
type StartPeer = () => Promise<Peer>;

const folder = await mkdtemp(join(tmpdir(), 'bench-gateway-'));
const generator = join(folder, 'mqtt-load');

function buildGenerator(): void {
  try {
    execFileSync('cc', ['-O2', '-o', generator, source], { stdio: 'inherit' });
  } catch {
    console.error('The load generator could not be built: install a C compiler (Debian: gcc).');
    process.exit(1);
  }
}

function hasMosquitto(): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v mosquitto && command -v mosquitto_sub'], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    console.error(
      'No comparison with mosquitto: install the packages mosquitto and mosquitto-clients.',
    );
    return false;
  }
}

const startHoldfast: StartPeer = async () => {
  const data = await mkdtemp(join(folder, 'holdfast-'));
  const child = spawn(process.execPath, [program, data], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { port } = JSON.parse(line) as { port: number };
  return peerOf(port, child);
};

/**
 * `saved` writes its database at each change. Publishes are changes when they are queued, so a subscriber with a session is offline, and
 * its queue has no bound: a full one is a change no more.
 */
const startMosquitto =
  (saved: boolean): StartPeer =>
  async () => {
    const data = await mkdtemp(join(folder, 'mosquitto-'));
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    const persistence = saved
      ? `persistence true\npersistence_location ${data}/\nautosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n`
      : 'persistence false\n';
    const config = join(data, 'mosquitto.conf');
    await writeFile(
      config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\nlog_type none\nuser root\n${persistence}`,
    );
    const child = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
    await reachable(port);
    if (saved) {
      const subscribe = ['-p', `${port}`, '-i', 'offline', '-c', '-q', '1', '-t', 'load/#', '-E'];
      await promisify(execFile)('mosquitto_sub', subscribe);
    }
    return peerOf(port, child);
  };

const peerOf = (port: number, child: ChildProcess): Peer => ({
  port,
  process: child,
  stop: async () => {
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
  },
});

async function reachable(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on ${port}`);
}

async function load(
  port: number,
  mode: string,
  options: Record<string, number | string>,
): Promise<Load> {
  const more = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const { stdout } = await promisify(execFile)(generator, [mode, '--port', `${port}`, ...more]);
  return JSON.parse(stdout) as Load;
}

const writtenBytes = ({ pid = 0 }: ChildProcess): number =>
  Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
const residentMiB = ({ pid = 0 }: ChildProcess): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

interface Figures {
  readonly [name: string]: number;
}

async function measure(start: StartPeer): Promise<Figures> {
  const peer = await start();
  try {
    const idle = residentMiB(peer.process);
    const crowd = spawn(
      generator,
      ['idle', '--port', `${peer.port}`, '--clients', '1000', '--seconds', '2'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(createInterface(crowd.stdout), 'line');
    const crowded = residentMiB(peer.process);
    await once(crowd, 'exit');
    const paced = await load(peer.port, 'latency', {
      clients: 100,
      rate: 1_000,
      bytes: 200,
      seconds,
    });
    const before = writtenBytes(peer.process);
    const durable = await load(peer.port, 'publish', {
      clients: 100,
      window: 20,
      bytes: 200,
      seconds,
      warmup: 0,
    });
    const written = writtenBytes(peer.process) - before;
    return {
      'acknowledged/s': durable.perSecond,
      'ack p50 ms': durable.p50Us / 1_000,
      'ack p99 ms': durable.p99Us / 1_000,
      'disk bytes/message': written / durable.acknowledged,
      'publish to subscriber p50 ms': paced.p50Us / 1_000,
      'publish to subscriber p99 ms': paced.p99Us / 1_000,
      'RSS idle MiB': idle,
      'RSS 1,000 connected MiB': crowded,
    };
  } finally {
    await peer.stop();
  }
}

buildGenerator();
const peers: [string, StartPeer][] = [['holdfast, durable', startHoldfast]];
if (hasMosquitto()) {
  peers.push(
    ['mosquitto, in memory', startMosquitto(false)],
    ['mosquitto, saved at each change', startMosquitto(true)],
  );
}
const all = new Map<string, Figures[]>(peers.map(([name]) => [name, []]));
// In turn, so that what else the machine does falls on all of them alike.
for (let run = 1; run <= runs; run += 1) {
  for (const [name, start] of peers) {
    const figures = await measure(start);
    all.get(name)?.push(figures);
    console.error(`run ${run}: ${name}: ${figures['acknowledged/s']} acknowledged/s`);
  }
}
console.log(
  `QoS 1, 100 clients, window 20, 200 bytes, plain listener; ${seconds} s a run, medians of ${runs}`,
);
const table = [...all].map(([name, figures]) => {
  const names = Object.keys(figures[0] ?? {});
  const medians = names.map(
    (one) => [one, median(figures.map((run) => run[one] ?? Number.NaN))] as const,
  );
  return [
    name,
    Object.fromEntries(medians.map(([one, value]) => [one, Math.round(value * 100) / 100])),
  ] as const;
});
console.table(Object.fromEntries(table));
console.log(JSON.stringify(Object.fromEntries(table)));
await rm(folder, { recursive: true });
