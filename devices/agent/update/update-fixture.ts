/** For tests: application folders as archives, and a gateway that serves them. */
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import { packApp } from './pack-app.js';
import type { Release, UpdateJob } from './update-state.js';

export interface AppFixture {
  readonly version: string;
  /** What its program does after it started; by default it says that it is ready and stays. */
  readonly script?: string;
  readonly deadlineS?: number;
}

export const stays = `console.log('ready'); setInterval(() => {}, 1000);`;

export const makeArchive = async (
  directory: string,
  // Times 1,000 it is no whole number.
  { version, script = stays, deadlineS = 16.1 }: AppFixture,
): Promise<string> => {
  const folder = join(directory, `app-${version}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'main.mjs'), script);
  const manifest = {
    name: 'fixture',
    version,
    command: [process.execPath, 'main.mjs'],
    health: { type: 'ready_line', line: 'ready' },
    deadline_s: deadlineS,
    max_starts: 2,
  };
  await writeFile(join(folder, 'holdfast-app.json'), JSON.stringify(manifest));
  const archive = join(directory, `app-${version}.tar`);
  await packApp(folder, archive);
  return archive;
};

/** A release without anything particular, for what is not about signatures. */
export const plainRelease: Release = { installer: 'slots', securityCounter: 0, steps: [] };

export const makeJob = async (id: string, version: string, archive: string): Promise<UpdateJob> => {
  const sha256 = await digestOf(archive, AbortSignal.timeout(10_000));
  return {
    id,
    campaignId: id,
    version,
    model: 'pi',
    url: `/firmware/sha256/${sha256}`,
    sha256,
    sizeBytes: (await stat(archive)).size,
  };
};

export interface FirmwareServer {
  readonly baseUrl: string;
  readonly close: () => Promise<void>;
}

export const serveFirmware = async (archives: readonly string[]): Promise<FirmwareServer> => {
  const byDigest = new Map<string, Buffer>();
  for (const archive of archives) {
    const digest = await digestOf(archive, AbortSignal.timeout(10_000));
    byDigest.set(`/firmware/sha256/${digest}`, await readFile(archive));
  }
  const server = createServer((request, response) => {
    const bytes = byDigest.get(request.url ?? '');
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (bytes === undefined) response.writeHead(404).end();
    else {
      const range = `bytes ${String(from)}-${String(bytes.length - 1)}/${String(bytes.length)}`;
      if (from > 0) response.writeHead(206, { 'content-range': range });
      response.end(bytes.subarray(from));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    baseUrl: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

export const makeDirectory = async (): Promise<{ path: string; remove: () => Promise<void> }> => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-update-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
};
