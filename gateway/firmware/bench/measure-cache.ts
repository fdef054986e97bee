/** How fast images are served, and what that costs, beside Debian's nginx; in turn, so that what else the machine does falls on both. */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pemChain } from '@holdfast/provisioning/pki/certificate';
import { issueControlPlane, issueRoot } from '@holdfast/provisioning/pki/issue';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { freePort } from '@holdfast/provisioning/program/free-port';
import { type Figure, percentile } from '../../shadows/bench/figures.js';
import { childrenOf, cpuSecondsOf, peakMiB } from './process-figures.js';

interface Host {
  readonly pids: readonly number[];
  readonly http: number;
  readonly https: number;
  stop(): Promise<void>;
}

interface Files {
  readonly folder: string;
  readonly image: string;
  readonly key: string;
  readonly chain: string;
}

const imageBytes = 5_000_000;
const downloads = 50;
const rounds = 3;
const slowDownloads = 100;

export const measureCache = async (
  { say }: { readonly say: (text: string) => void },
  { megabytes }: { readonly megabytes: number },
): Promise<Figure[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-cache-'));
  const hosts: Host[] = [];
  try {
    const files = await writeFiles(folder);
    const ours = await startOurs(files);
    hosts.push(ours);
    const nginx = await startNginx(files);
    hosts.push(nginx);
    const count = Math.ceil((megabytes * 1e6) / imageBytes / rounds);
    const figures: Figure[] = [];
    for (const scheme of ['http', 'https'] as const) {
      say(`firmware over ${scheme} …`);
      const of: Record<'ours' | 'theirs', Load[]> = { ours: [], theirs: [] };
      await load(ours, scheme, downloads);
      await load(nginx, scheme, downloads);
      for (let round = 0; round < rounds; round += 1) {
        of.ours.push(await load(ours, scheme, count));
        of.theirs.push(await load(nginx, scheme, count));
      }
      const median = (loads: readonly Load[], what: keyof Load): number =>
        percentile(
          loads.map((one) => one[what]),
          0.5,
        );
      const name = scheme === 'http' ? 'plain' : 'TLS 1.3';
      for (const [what, unit] of [
        ['megabytesPerS', 'MB/s'],
        ['cpuSecondsPerGb', 'CPU s/GB'],
      ] as const) {
        figures.push({
          what: `5 MB image, ${name}`,
          value: Math.round(median(of.ours, what) * 100) / 100,
          unit,
          baseline: { what: 'nginx', value: Math.round(median(of.theirs, what) * 100) / 100 },
        });
      }
    }
    say('slow downloads …');
    figures.push({
      what: `memory with ${slowDownloads} that take 20 kB/s, at most`,
      value: await slowMiB(files, startOurs),
      unit: 'MiB',
      baseline: { what: 'nginx', value: await slowMiB(files, startNginx) },
    });
    figures.push({
      what: 'memory of the process under full load, at most',
      value: peakMiB(ours.pids[0] ?? 0),
      unit: 'MiB',
      baseline: { what: 'nginx', value: peakMiB(nginx.pids[0] ?? 0) },
    });
    return figures;
  } finally {
    for (const host of hosts) await host.stop();
    await rm(folder, { recursive: true });
  }
};

/** Of a process of its own, so that nothing of before counts. */
const slowMiB = async (files: Files, start: (files: Files) => Promise<Host>): Promise<number> => {
  const host = await start(files);
  try {
    const url = `https://127.0.0.1:${host.https}/image.bin?[1-${slowDownloads}]`;
    const slow = ['--limit-rate', '20k', '--max-time', '6', '--parallel-max', `${slowDownloads}`];
    const parallel = ['-s', '-k', '--parallel', '--parallel-immediate', ...slow];
    // It ends by its time, which it calls a failure.
    await promisify(execFile)('curl', [...parallel, '-o', '/dev/null', url]).catch(() => undefined);
    return peakMiB(host.pids[0] ?? 0);
  } finally {
    await host.stop();
  }
};

interface Load {
  readonly megabytesPerS: number;
  readonly cpuSecondsPerGb: number;
}

const load = async (host: Host, scheme: 'http' | 'https', count: number): Promise<Load> => {
  const url = `${scheme}://127.0.0.1:${host[scheme]}/image.bin?[1-${count}]`;
  const cpuBefore = cpuSecondsOf(...host.pids);
  const begun = performance.now();
  const parallel = ['--parallel', '--parallel-immediate', '--parallel-max', `${downloads}`];
  await promisify(execFile)('curl', ['-s', '-f', '-k', ...parallel, '-o', '/dev/null', url]);
  const seconds = (performance.now() - begun) / 1_000;
  const bytes = count * imageBytes;
  return {
    megabytesPerS: bytes / 1e6 / seconds,
    cpuSecondsPerGb: (cpuSecondsOf(...host.pids) - cpuBefore) / (bytes / 1e9),
  };
};

const writeFiles = async (folder: string): Promise<Files> => {
  const rootKey = await createKey();
  const root = await issueRoot(rootKey, { fleet: 'bench', now: Date.now() });
  const key = await createKey();
  const authority = { certificate: root, key: rootKey };
  const hosts = ['127.0.0.1'];
  const leaf = await issueControlPlane(authority, key.publicKey, { hosts, now: Date.now() });
  const files = {
    folder,
    image: join(folder, 'image.bin'),
    key: join(folder, 'key.pem'),
    chain: join(folder, 'chain.pem'),
  };
  await writeFile(files.image, randomBytes(imageBytes));
  await writeFile(files.key, privatePem(key));
  await writeFile(files.chain, pemChain(leaf, root));
  return files;
};

const startOurs = async ({ image, key, chain }: Files): Promise<Host> => {
  const program = fileURLToPath(new URL('./image-host.js', import.meta.url));
  const child = spawn(process.execPath, [program, image, key, chain], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const ports = JSON.parse(line) as { http: number; https: number };
  return { ...ports, pids: [child.pid ?? 0], stop: () => end(child) };
};

/** One worker, as the gateway is one process; files are sent from the page cache without a copy where there is no TLS. */
const startNginx = async ({ folder, key, chain }: Files): Promise<Host> => {
  const [http, https] = [await freePort(), await freePort()];
  const config = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (what) => `${what}_temp_path ${folder}/${what};`,
  );
  await writeFile(
    config,
    `user root; daemon off; worker_processes 1; pid ${folder}/nginx-${https}.pid; error_log stderr warn;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; ${temporary.join(' ')}
  server { listen 127.0.0.1:${http}; listen 127.0.0.1:${https} ssl; root ${folder};
    ssl_certificate ${chain}; ssl_certificate_key ${key}; ssl_protocols TLSv1.3; } }
`,
  );
  const child = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const pid = await Promise.race([
    once(child, 'spawn').then(() => child.pid ?? 0),
    once(child, 'error').then(() => {
      throw new Error('Install the package nginx-light.');
    }),
  ]);
  const isUp = ['-s', '-k', '--retry', '50', '--retry-connrefused', '--retry-delay', '1'];
  const url = `https://127.0.0.1:${https}/image.bin`;
  await promisify(execFile)('curl', [...isUp, '-o', '/dev/null', url]);
  return { http, https, pids: childrenOf(pid), stop: () => end(child) };
};

const end = async (child: ReturnType<typeof spawn>): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended early');
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
};
