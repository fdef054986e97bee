import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Agent } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FirmwareBody, FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import { deltaFormat, digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import { encodeDelta } from '@holdfast/provisioning/delta/encode-delta';
import t, { type Test } from 'tap';
import { FirmwareCache } from './firmware-cache.js';
import { usableDeltas } from './rebuild-image.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const one = Buffer.concat([randomBytes(50_000), Buffer.alloc(50_000)]);
const two = Buffer.concat([one.subarray(40_000), randomBytes(2_000), one.subarray(0, 40_000)]);

/** A site that holds the first version, and a control plane with the second, which has deltas from the first and from nothing. */
const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'rebuild-'));
  const served = new Map<string, Buffer>();
  const asked: string[] = [];
  const serve = (bytes: Buffer, name = sha256Of(bytes)): string => {
    const path = `/firmware/sha256/${name}`;
    served.set(path, bytes);
    return path;
  };
  const deltaFrom = async (source: Buffer, version: string): Promise<FirmwareDelta> => {
    await encodeDelta(source, two, join(folder, 'delta'));
    const bytes = await readFile(join(folder, 'delta'));
    return {
      ...{ from_sha256: sha256Of(source), from_version: version, format: deltaFormat },
      ...{ sha256: sha256Of(bytes), size_bytes: bytes.length, path: serve(bytes) },
    };
  };
  const deltas = [await deltaFrom(one, '1'), await deltaFrom(Buffer.alloc(0), '')];
  const body: FirmwareBody = {
    ...{ model: 'pi', version: '2', sha256: sha256Of(two), size_bytes: two.length },
    ...{ file_name: 'app.tar', path: serve(two), deltas },
  };
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const bytes = served.get(request.url ?? '');
    if (bytes === undefined) response.writeHead(404).end();
    else response.end(bytes);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const images = join(folder, 'images');
  await mkdir(images);
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cache = new FirmwareCache(
    { source: { address, agent: new Agent() }, log, now: () => Date.now() },
    { folder: images, quotaBytes: 1e9, retryAfterMs: { first: 1, most: 1 } },
  );
  t.teardown(async () => {
    await cache.close();
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  const fetched = async (): Promise<Buffer> => {
    const come = new Promise<void>((resolve) => {
      cache.onChange((sha256) => {
        if (sha256 === body.sha256) resolve();
      });
    });
    await cache.open();
    cache.need([body]);
    await come;
    return readFile(join(images, body.sha256));
  };
  return { images, served, asked, body, deltas, cache, fetched };
};

t.test('a site makes an image of the one before, and offers devices what it took', async (t) => {
  const { images, asked, body, deltas, cache, fetched } = await openSite(t);
  await writeFile(join(images, sha256Of(one)), one);
  t.ok((await fetched()).equals(two));
  t.same(asked, [deltas[0]?.path]);
  t.same(cache.deltasOf(body.sha256), [deltas[0]]);
  t.same(cache.deltasOf(sha256Of(one)), []);
});

t.test('a site that holds nothing fetches the image compressed', async (t) => {
  const { asked, body, deltas, cache, fetched } = await openSite(t);
  t.ok((await fetched()).equals(two));
  t.same(asked, [deltas[1]?.path]);
  t.same(cache.deltasOf(body.sha256), [deltas[1]]);
});

t.test('what is no delta costs its bytes, and the image comes', async (t) => {
  const { images, served, asked, body, deltas, cache, fetched } = await openSite(t);
  await writeFile(join(images, sha256Of(one)), one);
  for (const { path, size_bytes } of deltas) served.set(path, randomBytes(size_bytes));
  t.ok((await fetched()).equals(two));
  t.same(asked, [...deltas.map(({ path }) => path), body.path]);
  t.same(cache.deltasOf(body.sha256), []);
});

t.test('usable is what is known, applies to what is held, and is smaller', (t) => {
  const delta = (changes: Partial<FirmwareDelta>): FirmwareDelta => ({
    ...{ from_sha256: '1', from_version: '1', format: deltaFormat },
    ...{ sha256: 'd', size_bytes: 50, path: '/d', ...changes },
  });
  const body: FirmwareBody = {
    ...{ model: 'pi', version: '2', sha256: '2', size_bytes: 100, file_name: '', path: '/2' },
    deltas: [
      delta({}),
      delta({ from_sha256: digestOfNothing, size_bytes: 99 }),
      delta({ from_sha256: '3', size_bytes: 1 }),
      delta({ format: 'vcdiff' }),
      delta({ size_bytes: 100 }),
      delta({ size_bytes: 40 }),
    ],
  };
  t.same(
    usableDeltas(body, (sha256) => sha256 === '1').map(({ size_bytes }) => size_bytes),
    [40, 50, 99],
  );
  t.same(
    usableDeltas({ ...body, deltas: [] }, () => true),
    [],
  );
  t.end();
});
