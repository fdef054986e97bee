/**
 * `npm run bench:gateway [-- --json]`: the gateway's figures and mosquitto's beside them, in one run on one machine, medians of RUNS
 * (default 5) of SECONDS (default 5). The load generator is C and built here; it needs `cc`, and the comparison Debian's packages
 * `mosquitto` and `mosquitto-clients`.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connectDevices } from './connected-devices.js';
import {
  type Candidate,
  cpuSeconds,
  holdfast,
  mosquitto,
  type Peer,
  residentMiB,
  writtenBytes,
} from './peers.js';

const runs = Number(process.env.RUNS ?? 5);
const seconds = Number(process.env.SECONDS ?? 5);
const isJson = process.argv.includes('--json');
const source = fileURLToPath(new URL('../../../broker/bench/mqtt-load.c', import.meta.url));

/** What one line of the generator says. */
interface Load {
  readonly acknowledged: number;
  readonly delivered: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}
type Figures = Readonly<Record<string, number>>;

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

function requireMosquitto(): void {
  try {
    const both = 'command -v mosquitto && command -v mosquitto_sub';
    execFileSync('sh', ['-c', both], { stdio: 'ignore' });
  } catch {
    console.error('Install the packages mosquitto and mosquitto-clients.');
    process.exit(1);
  }
}

const argumentsOf = (peer: Peer, options: Readonly<Record<string, number>>): string[] =>
  Object.entries({ port: peer.port, topic: peer.topic, ...peer.user, ...options }).flatMap(
    ([name, value]) => [`--${name}`, `${value}`],
  );

const load = async (
  peer: Peer,
  mode: 'publish' | 'latency',
  options: Readonly<Record<string, number>>,
): Promise<Load> => {
  const more = { clients: 100, bytes: 200, seconds, ...options };
  const { stdout } = await promisify(execFile)(generator, [mode, ...argumentsOf(peer, more)]);
  return JSON.parse(stdout) as Load;
};

/** Resident memory with a thousand connections: devices over TLS where the peer has such a listener. */
const crowdedMiB = async (peer: Peer): Promise<number> => {
  const { fleet, mqttsPort: port } = peer;
  if (fleet !== undefined && port !== undefined) {
    const leave = await connectDevices({ fleet, port }, 1_000);
    const resident = residentMiB(peer);
    leave();
    return resident;
  }
  const options = argumentsOf(peer, { clients: 1_000, seconds: 1 });
  const crowd = spawn(generator, ['idle', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(createInterface(crowd.stdout), 'line');
  const resident = residentMiB(peer);
  await once(crowd, 'exit');
  return resident;
};

/** How long the disk takes to make 4 KiB durable: each commit waits for it once. */
const fsyncMs = (): Figures => {
  const file = openSync(join(folder, 'fsync'), 'w');
  const page = Buffer.alloc(4_096, 1);
  const times: number[] = [];
  for (let at = 0; at < 200; at += 1) {
    writeSync(file, page);
    const from = performance.now();
    fdatasyncSync(file);
    times.push(performance.now() - from);
  }
  closeSync(file);
  times.sort((a, b) => a - b);
  return { p50: rounded(times[100]), p99: rounded(times[198]) };
};

async function measure(candidate: Candidate): Promise<Figures> {
  const peer = await candidate.start(folder);
  try {
    const idle = residentMiB(peer);
    const crowded = await crowdedMiB(peer);
    const paced = await load(peer, 'latency', { rate: 1_000 });
    const bytesBefore = writtenBytes(peer);
    const cpuBefore = cpuSeconds(peer);
    const durable = await load(peer, 'publish', { window: 20, warmup: 0 });
    const cpu = cpuSeconds(peer) - cpuBefore;
    const written = writtenBytes(peer) - bytesBefore;
    return {
      'acknowledged/s': durable.perSecond,
      'ack p50 ms': durable.p50Us / 1_000,
      'ack p99 ms': durable.p99Us / 1_000,
      'CPU us/message': (cpu / durable.acknowledged) * 1e6,
      'disk bytes/message': written / durable.acknowledged,
      'publish to subscriber p50 ms': paced.p50Us / 1_000,
      'publish to subscriber p99 ms': paced.p99Us / 1_000,
      'RSS idle MiB': idle,
      'RSS 1,000 connected MiB': crowded,
      'start to ready ms': peer.startMs,
    };
  } finally {
    await peer.stop();
  }
}

const rounded = (value: number | undefined): number =>
  Math.round((value ?? Number.NaN) * 100) / 100;

const median = (values: number[]): number =>
  rounded(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]);

const mediansOf = (all: readonly Figures[]): Figures =>
  Object.fromEntries(
    Object.keys(all[0] ?? {}).map((name) => [
      name,
      median(all.map((run) => run[name] ?? Number.NaN)),
    ]),
  );

buildGenerator();
requireMosquitto();
const candidates = [...holdfast, ...mosquitto];
const measured = new Map<Candidate, Figures[]>(candidates.map((one) => [one, []]));
const disk = fsyncMs();
try {
  // In turn, so that what else the machine does falls on all of them alike.
  for (let run = 1; run <= runs; run += 1) {
    for (const candidate of candidates) {
      const figures = await measure(candidate);
      measured.get(candidate)?.push(figures);
      console.error(
        `run ${run}: ${candidate.name}: ${figures['acknowledged/s']} acknowledged/s, machine load ${rounded(loadavg()[0])}`,
      );
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
const results = candidates.map((candidate) => ({
  name: candidate.name,
  acknowledgedMeans: candidate.acknowledgedMeans,
  medians: mediansOf(measured.get(candidate) ?? []),
}));
const setting = 'QoS 1, 100 clients, window 20, 200 bytes, plain listener';
if (isJson) {
  console.log(JSON.stringify({ setting, runs, seconds, fsyncMs: disk, load: loadavg(), results }));
} else {
  console.log(`${setting}; ${seconds} s a run, medians of ${runs}`);
  console.log(`fdatasync of 4 KiB on this disk: p50 ${disk.p50} ms, p99 ${disk.p99} ms`);
  console.log(
    'The 1,000 connected are devices over mutual TLS at holdfast-gateway, plain elsewhere.',
  );
  console.log('An acknowledgement means:');
  for (const { name, acknowledgedMeans } of results) console.log(`  ${name}: ${acknowledgedMeans}`);
  console.table(Object.fromEntries(results.map(({ name, medians }) => [name, medians])));
}
