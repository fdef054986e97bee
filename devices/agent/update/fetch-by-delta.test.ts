import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { deltaFormat } from '@holdfast/provisioning/delta/delta-format';
import { encodeDelta } from '@holdfast/provisioning/delta/encode-delta';
import t, { type Test } from 'tap';
import { fetchByDelta } from './fetch-by-delta.js';
import { KeptImages } from './kept-images.js';
import { makeDirectory } from './update-fixture.js';
import type { JobDelta, UpdateJob } from './update-state.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const signal = AbortSignal.timeout(120_000);
const before = randomBytes(60_000);
const image = Buffer.concat([before.subarray(30_000), randomBytes(2_000), before]);

type Answer = (bytes: Buffer, response: ServerResponse) => void;
const whole: Answer = (bytes, response) => response.end(bytes);
const cut: Answer = (bytes, response) => {
  response.writeHead(200, { 'content-length': bytes.length });
  response.write(bytes.subarray(0, 1_000), () => response.destroy());
};

/** A device that has `before`, and a gateway with deltas from it and from nothing. */
const setUp = async (t: Test, answers: Answer[] = []) => {
  const directory = await makeDirectory();
  const path = (name: string) => join(directory.path, name);
  await writeFile(path('before'), before);
  await writeFile(path('image'), image);
  const served = new Map<string, Buffer>();
  const deltaFrom = async (source: Buffer): Promise<JobDelta> => {
    const made = await encodeDelta(source, image, path('delta'));
    const bytes = await readFile(path('delta'));
    served.set(`/${made?.sha256}`, bytes);
    return {
      fromSha256: sha256Of(source),
      url: `/${made?.sha256}`,
      format: deltaFormat,
      sha256: made?.sha256 ?? '',
      sizeBytes: bytes.length,
    };
  };
  const small = await deltaFrom(before);
  const compressed = await deltaFrom(Buffer.alloc(0));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const bytes = served.get(request.url ?? '');
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (bytes === undefined) response.writeHead(404).end();
    else if (from > 0) {
      response.writeHead(206, {
        'content-range': `bytes ${String(from)}-${String(bytes.length - 1)}/${String(bytes.length)}`,
      });
      response.end(bytes.subarray(from));
    } else (answers.shift() ?? whole)(bytes, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await directory.remove();
  });
  const kept = new KeptImages({ folder: path('images') });
  const job = {
    ...{ id: 'job', campaignId: 'job', version: '2', model: 'pi', url: '/image' },
    ...{ sha256: sha256Of(image), sizeBytes: image.length },
  };
  const fallbacks: string[] = [];
  const fetch = (given: Partial<UpdateJob>) =>
    fetchByDelta(
      {
        job: { ...job, ...given },
        path: path('target'),
        urlOf: (url) => `http://127.0.0.1:${String((server.address() as AddressInfo).port)}${url}`,
        find: (sha256) => kept.find(sha256),
        onRebuilt: () => undefined,
        onFallback: (error) => fallbacks.push(error),
      },
      { signal, firstRetryMs: 1 },
    );
  const left = async () => (await readdir(directory.path)).filter((name) => /^target/.test(name));
  return { path, kept, small, compressed, served, asked, fallbacks, fetch, left };
};

t.test('makes the image of the one that is kept, over breaks', async (t) => {
  const { path, kept, small, compressed, served, asked, fallbacks, fetch, left } = await setUp(t, [
    cut,
  ]);
  await kept.keep(path('before'), sha256Of(before));
  t.ok(await fetch({ deltas: [compressed, small] }));
  t.ok((await readFile(path('target'))).equals(image));
  t.same(await left(), ['target']);
  t.same(asked, [small.url, small.url], 'the smaller one, and it went on where it broke');
  t.same(fallbacks, []);

  // Cut while it was applied: the delta is there, the image is not.
  const name = `target.${small.sha256.slice(0, 16)}.delta`;
  await writeFile(path(name), served.get(small.url) ?? '');
  await writeFile(path('target.rebuilding'), image.subarray(0, 500));
  await rm(path('target'));
  t.ok(await fetch({ deltas: [compressed, small] }));
  t.equal(asked.length, 2, 'nothing was fetched again');
  t.ok((await readFile(path('target'))).equals(image));
  t.same(await left(), ['target']);
});

t.test('without the image that a delta is from, takes what is merely compressed', async (t) => {
  const { path, small, compressed, asked, fetch } = await setUp(t);
  t.notOk(await fetch({ deltas: [small] }));
  t.notOk(await fetch({ deltas: [{ ...compressed, sizeBytes: image.length }] }), 'no smaller');
  t.notOk(await fetch({ deltas: [{ ...compressed, format: 'vcdiff' }] }));
  t.notOk(await fetch({}));
  t.same(asked, []);
  t.ok(await fetch({ deltas: [small, compressed] }));
  t.same(asked, [compressed.url]);
  t.ok((await readFile(path('target'))).equals(image));
});

t.test('whatever is wrong with a delta, what remains is the whole image', async (t) => {
  const { path, kept, small, served, fallbacks, fetch, left } = await setUp(t);
  await kept.keep(path('before'), sha256Of(before));
  const junk = randomBytes(500);
  const wrong = { ...small, url: '/junk', sha256: sha256Of(junk), sizeBytes: junk.length };
  served.set('/junk', junk);
  t.notOk(await fetch({ deltas: [{ ...small, url: '/gone' }] }), 'the gateway has it no more');
  t.notOk(await fetch({ deltas: [{ ...small, sha256: sha256Of(image) }] }), 'another file');
  t.notOk(await fetch({ deltas: [wrong] }), 'no delta');
  t.notOk(await fetch({ deltas: [small], sha256: sha256Of(junk) }), 'of another image');
  const longer = { ...small, sizeBytes: small.sizeBytes + 1 };
  t.notOk(await fetch({ deltas: [longer] }), 'it never comes to an end');
  t.equal(fallbacks.length, 5);
  t.same(await left(), []);
  await writeFile(await kept.find(sha256Of(before)).then(String), randomBytes(60_000));
  t.notOk(await fetch({ deltas: [small] }), 'what is kept was damaged');
  t.same(await left(), []);
});

t.test('goes on with a whole image of which less is to come than of a delta', async (t) => {
  const { path, kept, small, asked, fetch } = await setUp(t);
  await kept.keep(path('before'), sha256Of(before));
  await writeFile(path('target.part'), image.subarray(0, -100));
  t.notOk(await fetch({ deltas: [small] }));
  t.same(asked, []);
});

t.test('keeps the two images that came last', async (t) => {
  const directory = await makeDirectory();
  t.teardown(() => directory.remove());
  const folder = join(directory.path, 'images');
  const kept = new KeptImages({ folder });
  const images = [];
  for (const [index, text] of ['one', 'two', 'three'].entries()) {
    const path = join(directory.path, text);
    await writeFile(path, text);
    await utimes(path, index, index);
    images.push({ path, sha256: sha256Of(Buffer.from(text)) });
  }
  for (const { path, sha256 } of [...images, ...images.slice(1)]) await kept.keep(path, sha256);
  const [one, two, three] = images.map(({ sha256 }) => sha256);
  t.same((await readdir(folder)).sort(), [two, three].sort());
  t.equal(await kept.find(one ?? ''), undefined);
  t.equal(await kept.find('../one'), undefined);
  await new KeptImages({ folder, most: 0 }).keep(join(directory.path, 'one'), one ?? '');
  t.equal(await kept.find(one ?? ''), undefined);

  await mkdir(join(directory.path, 'file'));
  await copyFile(join(directory.path, 'one'), join(directory.path, 'file', 'images'));
  const nowhere = new KeptImages({ folder: join(directory.path, 'file', 'images') });
  t.match(await nowhere.keep(join(directory.path, 'one'), one ?? ''), /EEXIST|ENOTDIR/);
  t.equal((await stat(join(directory.path, 'one'))).size, 3, 'no room is no failure');
});
