import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdtemp, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import t from 'tap';
import {
  firmwareOf,
  held,
  silentLog as log,
  openCache,
  openSource,
  send,
  sha256Of,
  startOf,
} from './firmware-fixture.js';

const image = randomBytes(3_000_000);
const sha256 = sha256Of(image);

t.test('goes on where each break left it, and asks for nothing twice', async (t) => {
  const { source, requests } = await openSource(t, (request, response, count) =>
    send(request, response, image, count < 4 ? 700_000 : undefined),
  );
  const { cache, folder } = await openCache(t, source);
  cache.need([firmwareOf(image)]);
  cache.need([firmwareOf(image)]);
  await held(cache, sha256);
  t.same(await readFile(join(folder, sha256)), image);
  const starts = requests.map(startOf);
  t.equal(starts.length, 4);
  t.ok(
    starts.every((start, i) => i === 0 || start > (starts[i - 1] ?? 0)),
    `starts ${starts}`,
  );
  t.same(await readdir(folder), [sha256], 'nothing is left beside it');
});

t.test('a server that cannot continue sends the whole again', async (t) => {
  const { source } = await openSource(t, (request, response, count) => {
    if (count === 1) return send(request, response, image, 500_000);
    response.writeHead(200, { 'content-length': image.length });
    response.end(image);
  });
  const { cache, folder } = await openCache(t, source);
  cache.need([firmwareOf(image)]);
  await held(cache, sha256);
  t.same(await readFile(join(folder, sha256)), image);
});

t.test('a silent connection is given up and resumed', async (t) => {
  const { source, requests } = await openSource(t, (request, response) => {
    if (startOf(request) > 0) return send(request, response, image);
    response.writeHead(200, { 'content-length': image.length });
    response.write(image.subarray(0, 100_000));
  });
  const { cache } = await openCache(t, source, { idleTimeoutMs: 200 });
  cache.need([firmwareOf(image)]);
  await held(cache, sha256);
  t.ok(startOf(requests.at(-1)) > 0);
});

t.test('what is not what was promised is given to nobody, put aside and said', async (t) => {
  const wrong = Buffer.from(image);
  wrong[5] = (wrong[5] ?? 0) ^ 1;
  const { source } = await openSource(t, (request, response, count) =>
    send(request, response, count === 1 ? wrong : image),
  );
  const { cache, folder } = await openCache(t, source, {
    retryAfterMs: { first: 1, most: 60_000 },
  });
  const problems: string[] = [];
  const before = log.error;
  const said = new Promise<void>((resolve) => {
    log.error = (() => resolve()) as () => undefined;
  });
  cache.need([firmwareOf(image)]);
  await said;
  log.error = before;
  problems.push(cache.problem ?? '');
  t.match(problems[0], /is not/);
  t.notOk(cache.isHeld(sha256));
  t.equal(await cache.get(sha256), undefined);
  t.same(await readdir(join(folder, 'quarantine')), [sha256]);
  cache.retry();
  await held(cache, sha256);
  t.same(await readFile(join(folder, sha256)), image);
});

t.test(
  'a process killed in the middle of a download leaves what the next one goes on with',
  async (t) => {
    let release = (): void => undefined;
    const half = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { source, requests, root } = await openSource(t, (request, response, count) => {
      if (count > 1) return send(request, response, image);
      response.writeHead(200, { 'content-length': image.length });
      response.write(image.subarray(0, 1_500_000), () => release());
    });
    const folder = await mkdtemp(join(tmpdir(), 'firmware-'));
    const script = `
    import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
    import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
    import { FirmwareCache } from ${JSON.stringify(new URL('./firmware-cache.js', import.meta.url).href)};
    const log = { info() {}, warn() {}, error() {} };
    const { address, root, folder, firmware } = JSON.parse(process.env.FIRMWARE_TEST);
    const agent = verifiedAgent({ role: 'control-plane', root: parseCertificate(root), at: Date.now() });
    const cache = new FirmwareCache({ source: { address, agent }, log, now: Date.now }, { folder, quotaBytes: 1e7 });
    await cache.open();
    cache.need([firmware]);
    setInterval(() => {}, 1000);
  `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: new URL('../..', import.meta.url),
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        PATH: process.env.PATH,
        FIRMWARE_TEST: JSON.stringify({
          address: source.address,
          root: root.pem,
          folder,
          firmware: firmwareOf(image),
        }),
      },
    });
    await half;
    const partial = join(folder, `${sha256}.part`);
    const size = async () => (await stat(partial).catch(() => undefined))?.size ?? 0;
    const watcher = watch(folder);
    for (;;) {
      const changed = once(watcher, 'change');
      if ((await size()) >= 1_000_000) break;
      await changed;
    }
    watcher.close();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const left = await size();
    const { cache } = await openCache(t, source, { folder });
    cache.need([firmwareOf(image)]);
    await held(cache, sha256);
    t.equal(startOf(requests[1]), left);
    t.same(await readFile(join(folder, sha256)), image);
  },
);

t.test('what was damaged at rest is given to nobody, put aside and fetched again', async (t) => {
  const { source, requests } = await openSource(t, (request, response) =>
    send(request, response, image),
  );
  const folder = await mkdtemp(join(tmpdir(), 'firmware-'));
  const damaged = Buffer.from(image);
  damaged[2_000_000] = (damaged[2_000_000] ?? 0) ^ 1;
  await writeFile(join(folder, sha256), damaged);
  const { cache } = await openCache(t, source, { folder });
  t.equal(await cache.get(sha256), undefined);
  t.same(await readFile(join(folder, 'quarantine', sha256)), damaged);
  t.equal(requests.length, 0, 'nobody needs it');
  cache.need([firmwareOf(image)]);
  await held(cache, sha256);
  t.same(await readFile((await cache.get(sha256))?.path ?? ''), image);
});

t.test('what nobody asks for is looked through too', async (t) => {
  const { source } = await openSource(t, (request, response) => send(request, response, image));
  const folder = await mkdtemp(join(tmpdir(), 'firmware-'));
  await writeFile(join(folder, sha256), image.subarray(0, 1_000));
  const { cache } = await openCache(t, source, { folder });
  cache.need([firmwareOf(image)]);
  while ((await stat(join(folder, sha256)).catch(() => undefined))?.size !== image.length) {
    await new Promise<void>((resolve) => {
      const stop = cache.onChange(() => {
        stop();
        resolve();
      });
    });
  }
  t.ok(cache.isHeld(sha256));
});

t.test('what could not be read is looked at before it is thrown away', async (t) => {
  const { source, requests } = await openSource(t, (request, response) =>
    send(request, response, image),
  );
  const { cache, folder } = await openCache(t, source);
  cache.need([firmwareOf(image)]);
  await held(cache, sha256);
  await cache.check(sha256);
  t.ok(cache.isHeld(sha256), 'it is whole: the trouble was another');
  t.equal(requests.length, 1);
  await truncate(join(folder, sha256), 10);
  await cache.check(sha256);
  await held(cache, sha256);
  t.equal(requests.length, 2);
  t.same(await readFile(join(folder, sha256)), image);
});

t.test('closes at once also when a download is about to begin', async (t) => {
  const { source, requests } = await openSource(t, () => undefined);
  const { cache } = await openCache(t, source, { idleTimeoutMs: 60_000 });
  cache.need([firmwareOf(image)]);
  await cache.close();
  t.equal(requests.length, 0);
});

t.test('the quota evicts what was used longest ago, and never what is needed', async (t) => {
  const images = [1, 2, 3].map(() => randomBytes(4_000));
  const [a, b, c] = images.map((bytes, i) => firmwareOf(bytes, `${i}`)) as [
    FirmwareBody,
    FirmwareBody,
    FirmwareBody,
  ];
  const { source } = await openSource(t, (request, response) => {
    const wanted = images.find((bytes) => request.url?.endsWith(sha256Of(bytes)));
    send(request, response, wanted ?? Buffer.alloc(0));
  });
  const { cache } = await openCache(t, source, {
    quotaBytes: 9_000,
    retryAfterMs: { first: 1e6, most: 1e6 },
  });
  cache.need([a, b]);
  await held(cache, b.sha256);
  const warned = new Promise<void>((resolve) => {
    log.warn = (() => resolve()) as () => undefined;
  });
  cache.need([a, b, c]);
  await warned;
  t.match(cache.problem, /no room/);
  t.ok(cache.isHeld(a.sha256) && cache.isHeld(b.sha256) && !cache.isHeld(c.sha256));
  await cache.get(a.sha256);
  await cache.get(b.sha256);
  cache.need([c]);
  await held(cache, c.sha256);
  t.notOk(cache.isHeld(a.sha256));
  t.ok(cache.isHeld(b.sha256), 'the one that was used last stays while there is room');
});
