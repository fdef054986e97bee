/** A control plane's HTTPS door that answers as a test says, images, and the cache of a site that fetches them from it. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { pemChain } from '@holdfast/provisioning/pki/certificate';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { issueControlPlane, issueRoot } from '@holdfast/provisioning/pki/issue';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Test } from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import {
  FirmwareCache,
  type FirmwareCacheDeps,
  type FirmwareCacheOptions,
} from './firmware-cache.js';
import { ImageNotes } from './image-notes.js';

export const silentLog = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const sha256Of = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

export const firmwareOf = (bytes: Uint8Array, version = '2'): FirmwareBody => ({
  model: 'pi',
  version,
  sha256: sha256Of(bytes),
  size_bytes: bytes.length,
  file_name: 'x.bin',
  path: `/firmware/${sha256Of(bytes)}`,
});

export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

export const openSource = async (t: Test, answer: Answer) => {
  const rootKey = await createKey();
  const root = await issueRoot(rootKey, { fleet: 'f', now: Date.now() });
  const key = await createKey();
  const certificate = await issueControlPlane({ certificate: root, key: rootKey }, key.publicKey, {
    hosts: ['127.0.0.1'],
    now: Date.now(),
  });
  const requests: IncomingMessage[] = [];
  const server = createServer(
    { cert: pemChain(certificate, root), key: privatePem(key) },
    (request, response) => {
      requests.push(request);
      answer(request, response, requests.length);
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const agent = verifiedAgent({ role: 'control-plane', root, at: Date.now() });
  t.teardown(() => agent.destroy());
  return { requests, source: { address, agent }, root };
};

/** It moves with every look. */
let now = Date.now();

export const openCache = async (
  t: Test,
  source: FirmwareCacheDeps['source'],
  {
    deps,
    ...options
  }: Partial<FirmwareCacheOptions> & { readonly deps?: Partial<FirmwareCacheDeps> } = {},
) => {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'firmware-')));
  const cache = new FirmwareCache(
    { source, log: silentLog, now: () => ++now, ...deps },
    { quotaBytes: 10_000_000, retryAfterMs: { first: 1, most: 5 }, ...options, folder },
  );
  await cache.open();
  t.teardown(async () => {
    await cache.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { cache, folder };
};

/** Notes in a database of their own; opened again they are read from it. */
export const openNotes = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'firmware-notes-'));
  const path = join(folder, 'site.db');
  const store = await openStore({ path, migrations: siteMigrations, log: silentLog });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const lane = { appended: () => undefined };
  const lanes = { audit: lane, state: lane };
  const site = siteStore({ store, outbox: { kick: () => undefined }, lanes });
  return async (): Promise<ImageNotes> => {
    const notes = new ImageNotes(site);
    await notes.open();
    return notes;
  };
};

export const held = (cache: FirmwareCache, wanted: string): Promise<void> =>
  new Promise((resolve) => {
    if (cache.isHeld(wanted)) resolve();
    const stop = cache.onChange(() => {
      if (!cache.isHeld(wanted)) return;
      stop();
      resolve();
    });
  });

export const startOf = (request: IncomingMessage | undefined): number =>
  Number(/^bytes=(\d+)-$/.exec(request?.headers.range ?? 'bytes=0-')?.[1]);

/** Answers a range of the image and cuts the connection after so many bytes. */
export const send = (
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  cutAfter?: number,
): void => {
  const from = startOf(request);
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': body.length - from,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {}),
  });
  if (cutAfter === undefined) response.end(body.subarray(from));
  else response.write(body.subarray(from, from + cutAfter), () => response.socket?.destroy());
};
