/**
 * A machine to install on, for tests: this one's system under an overlay in memory, with a network of its own. Whatever is installed
 * there is gone with it. Needs root.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { parseReadyLine, type ReadyPorts } from '@holdfast/provisioning/program/ready';

const run = promisify(execFile);

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Service {
  readonly ports: ReadyPorts;
  /** `orderly`, or how it ended and what it said last. */
  stop(): Promise<string>;
}

export interface TestMachine {
  /** Runs as root within; any exit code is a result. */
  run(...command: readonly string[]): Promise<Result>;
  /** Starts a program within as a user, and waits for its ready line. */
  serve(user: string, ...command: readonly string[]): Promise<Service>;
  /** Puts a file of ours into its /root. */
  take(path: string): Promise<void>;
  /** Makes a program of ours, outside, use its network: to be put before the command. */
  readonly onItsNetwork: readonly string[];
  close(): Promise<void>;
}

const build = `
set -e
ip link set lo up
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mkdir -p "$1/root/run" && mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/tmp"
echo built
exec sleep infinity
`;

export const openTestMachine = async (): Promise<TestMachine> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-machine-'));
  const holder = spawn('unshare', ['--mount', '--net', 'sh', '-c', build, 'machine', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [built] = await Promise.race([
    once(createInterface({ input: holder.stdout }), 'line'),
    once(holder, 'exit').then(() => ['']),
  ]);
  if (built !== 'built') throw new Error('a machine to install on cannot be made here');
  const root = join(folder, 'root');
  const into = ['--target', String(holder.pid), '--mount', '--net'];
  const services = new Map<ChildProcess, Promise<unknown>>();
  return {
    onItsNetwork: ['nsenter', '--target', String(holder.pid), '--net'],
    run: (...command) =>
      resultOf('nsenter', [...into, 'chroot', root, ...within('/root'), ...command]),
    async serve(user, ...command) {
      const started = [
        ...[...into, 'chroot', `--userspec=${user}:${user}`, root],
        ...[...within('/nonexistent'), ...command],
      ];
      const child = spawn('nsenter', started, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => {
        said = `${said}${chunk}`.slice(-4_000);
      });
      const exited = once(child, 'exit');
      services.set(child, exited);
      const ports = await new Promise<ReadyPorts>((resolve, reject) => {
        createInterface({ input: child.stdout }).on('line', (line) => {
          const parsed = parseReadyLine(line);
          if (parsed !== undefined) resolve(parsed);
        });
        exited.then(() => reject(new Error(`it ended before it was ready: ${said}`)), reject);
      });
      return {
        ports,
        async stop() {
          child.kill('SIGTERM');
          const [code] = await exited;
          services.delete(child);
          return code === 0 ? 'orderly' : `exit code ${String(code)}: ${said}`;
        },
      };
    },
    take: async (path) => {
      await run('nsenter', [...into, 'cp', path, join(root, 'root/')]);
    },
    async close() {
      for (const [service, exited] of services) {
        service.kill('SIGKILL');
        await exited;
      }
      holder.kill('SIGKILL');
      await once(holder, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** With nothing of what a test runner adds to the environment of its children: there its files are not. */
const within = (home: string): readonly string[] => [
  ...['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', `HOME=${home}`, 'LC_ALL=C'],
];

const resultOf = (file: string, args: readonly string[]): Promise<Result> =>
  new Promise((resolve) => {
    execFile(file, args, { cwd: '/', maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ code, stdout, stderr });
    });
  });
