import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { SiteWindows } from '../updates/site-windows.js';
import {
  firmwareOf,
  held,
  openCache,
  openNotes,
  openSource,
  send,
  startOf,
} from './firmware-fixture.js';
import type { WantedImage } from './wanted-images.js';

const wanted = (body: FirmwareBody, more: Partial<WantedImage> = {}): WantedImage => ({
  ...{ body, isUrgent: false, campaigns: [], bytesPerS: null },
  ...more,
});

/** Sends a part of what it is asked for and keeps the rest until it is let go on. */
const halting = (body: Buffer, firstBytes: number) => {
  let release = (): void => undefined;
  return {
    send: (response: ServerResponse) => {
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.subarray(0, firstBytes));
      release = () => response.end(body.subarray(firstBytes));
    },
    release: () => release(),
  };
};

t.test('what a campaign waits for goes before what is only foreseen', async (t) => {
  const [first, second] = [randomBytes(600_000), randomBytes(5_000)];
  const [foreseen, urgent] = [firmwareOf(first, '1'), firmwareOf(second, '2')];
  const begun = halting(first, 300_000);
  const { source, requests } = await openSource(t, (request, response, count) => {
    if (count === 1) begun.send(response);
    else send(request, response, request.url === urgent.path ? second : first);
  });
  let arrived = (): void => undefined;
  const half = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  let received = 0;
  const { cache, folder } = await openCache(t, source, {
    // Asked for with every piece.
    wanBytesPerS: () => {
      received += 1;
      if (received > 2) arrived();
      return null;
    },
  });
  cache.foresee([wanted(foreseen)]);
  await half;
  cache.need([urgent]);
  await held(cache, urgent.sha256);
  await held(cache, foreseen.sha256);
  t.same(
    requests.map(({ url }) => url),
    [foreseen.path, urgent.path, foreseen.path],
  );
  t.ok(startOf(requests[2]) > 0, 'what was set aside goes on where it was');
  t.same(await readFile(join(folder, foreseen.sha256)), first);
  t.equal(cache.problem, undefined, 'that was no failure');
});

t.test('fetches in the windows of the site, and goes on in the next one', async (t) => {
  const image = randomBytes(600_000);
  const body = firmwareOf(image);
  const begun = halting(image, 300_000);
  const { source, requests } = await openSource(t, (request, response, count) => {
    if (count === 1) begun.send(response);
    else send(request, response, image);
  });
  const clock = new ManualClock(Date.UTC(2026, 0, 1, 12));
  const windows = new SiteWindows(
    { clock },
    {
      windows: [
        {
          ...{ name: 'nights', start: '0 22 * * *', minutes: 60, for: ['fetch'] },
          ...{ models: [], devices: [], groups: [] },
        },
      ],
      timeZone: 'UTC',
      whenTimeUnknown: 'closed',
    },
  );
  const { cache } = await openCache(t, source, {
    deps: { windows, wait: clock.wait },
    wanBytesPerS: () => null,
  });
  cache.foresee([wanted(body, { campaigns: ['c'] })]);
  t.equal(requests.length, 0);
  const [row] = await cache.rows();
  t.match(row, { state: 'waiting', receivedBytes: 0, campaigns: ['c'] });
  t.match(row?.waitsFor, /waits for the window nights, which opens at .*22:00/);

  clock.advance(10 * 3_600_000);
  // The night has begun; the first half comes, and then the night is over.
  while ((await cache.rows())[0]?.receivedBytes === 0) await new Promise(setImmediate);
  t.match(await cache.rows(), [{ state: 'fetching', waitsFor: null }]);
  clock.advance(2 * 3_600_000);
  begun.release();
  while ((await cache.rows())[0]?.state === 'fetching') await new Promise(setImmediate);
  t.match(await cache.rows(), [{ state: 'waiting', waitsFor: /nights/ }]);
  t.equal(cache.problem, undefined);
  const received = (await cache.rows())[0]?.receivedBytes ?? 0;
  t.ok(received > 0 && received < image.length);
  while (clock.waiting === 0) await new Promise(setImmediate);
  clock.advance(22 * 3_600_000);
  await held(cache, body.sha256);
  t.equal(startOf(requests[1]), received);
});

t.test('takes of the WAN the smallest of what site and campaign allow', async (t) => {
  const image = randomBytes(3_000_000);
  const body = firmwareOf(image);
  const { source } = await openSource(t, (request, response) => send(request, response, image));
  const time = { now: 0 };
  const wait = async (ms: number, signal?: AbortSignal): Promise<void> => {
    signal?.throwIfAborted();
    time.now += ms;
  };
  const elapsed = async (site: number | null, campaign: number | null): Promise<number> => {
    const { cache } = await openCache(t, source, {
      deps: { monotonic: () => time.now, wait },
      wanBytesPerS: () => site,
    });
    const from = time.now;
    cache.foresee([wanted(body, { bytesPerS: campaign })]);
    await held(cache, body.sha256);
    return time.now - from;
  };
  const seconds = async (...of: Parameters<typeof elapsed>) =>
    Math.round((await elapsed(...of)) / 1_000);
  t.equal(await seconds(1_000_000, null), 3);
  t.equal(await seconds(1_000_000, 100_000), 30);
  t.equal(await seconds(100_000, 1_000_000), 30);
  t.equal(await seconds(null, 1_000_000), 3);
  t.equal(await seconds(null, null), 0);
});

t.test(
  'what somebody has pinned comes and stays, over restarts, until it is unpinned',
  async (t) => {
    const images = [1, 2, 3].map(() => randomBytes(4_000));
    const bodies = images.map((bytes, i) => firmwareOf(bytes, `${i + 1}`));
    const [one, two, three] = bodies as [FirmwareBody, FirmwareBody, FirmwareBody];
    const { source } = await openSource(t, (request, response) => {
      const at = bodies.findIndex(({ path }) => path === request.url);
      send(request, response, images[at] ?? Buffer.alloc(0));
    });
    const notes = await openNotes(t);
    const options = { quotaBytes: 9_000, retryAfterMs: { first: 1e6, most: 1e6 } };
    const first = await openCache(t, source, { ...options, deps: { notes: await notes() } });
    first.cache.foresee([wanted(one)]);
    await held(first.cache, one.sha256);
    t.match(await first.cache.pin('pi@1', { by: 'ada', at: 7 }), { sha256: one.sha256 });
    await t.rejects(first.cache.pin('pi@9', { by: 'ada', at: 7 }), { code: 'RESOURCE_NOT_FOUND' });
    await first.cache.close();

    const { folder } = first;
    const { cache } = await openCache(t, source, {
      ...{ ...options, folder },
      deps: { notes: await notes() },
    });
    cache.need([two]);
    await held(cache, two.sha256);
    cache.need([three]);
    await held(cache, three.sha256);
    t.ok(cache.isHeld(one.sha256), 'the plan names it no more, and it is the oldest');
    t.notOk(cache.isHeld(two.sha256));
    t.match(await cache.rows(), [
      { version: '3', isUrgent: true, pin: null },
      { version: '1', state: 'held', pin: { by: 'ada', at: 7 } },
    ]);
    await cache.pin(three.sha256.slice(0, 12), { by: 'ada', at: 8 });
    cache.foresee([wanted(two)]);
    await t.rejects(cache.pin('pi@2', { by: 'ada', at: 9 }), { code: 'STORE_FULL' });
    cache.foresee([]);

    await writeFile(join(folder, one.sha256), 'damaged');
    await cache.check(one.sha256);
    await held(cache, one.sha256);
    t.same(await readFile(join(folder, one.sha256)), images[0], 'it is fetched again as well');

    await cache.pin('pi@1', null);
    cache.need([two]);
    await held(cache, two.sha256);
    t.notOk(cache.isHeld(one.sha256));
  },
);

t.test('a pin that comes as the image arrives stays', async (t) => {
  const body = firmwareOf(randomBytes(10));
  const open = await openNotes(t);
  const notes = await open();
  const pin = { by: 'ada', at: 7 };
  await Promise.all([notes.pin(body, pin), notes.remember(body)]);
  t.same(notes.get(body.sha256), { body, pin });
  t.same((await open()).get(body.sha256), { body, pin });
});

t.test('what is foreseen makes room for what is urgent, and for nothing else', async (t) => {
  const images = [1, 2, 3].map(() => randomBytes(4_000));
  const bodies = images.map((bytes, i) => firmwareOf(bytes, `${i + 1}`));
  const [one, two, three] = bodies as [FirmwareBody, FirmwareBody, FirmwareBody];
  const { source } = await openSource(t, (request, response) => {
    const at = bodies.findIndex(({ path }) => path === request.url);
    send(request, response, images[at] ?? Buffer.alloc(0));
  });
  const { cache } = await openCache(t, source, {
    quotaBytes: 9_000,
    retryAfterMs: { first: 1e6, most: 1e6 },
  });
  cache.foresee([wanted(one), wanted(two)]);
  await held(cache, two.sha256);
  cache.foresee([wanted(one), wanted(two), wanted(three)]);
  while (cache.problem === undefined) await new Promise(setImmediate);
  t.match(cache.problem, /no room/);
  t.ok(cache.isHeld(one.sha256) && cache.isHeld(two.sha256));
  cache.need([three]);
  await held(cache, three.sha256);
  t.ok(cache.isHeld(two.sha256) !== cache.isHeld(one.sha256), 'as much as it takes');
});

t.test('leaves of what nobody needs nothing behind', async (t) => {
  const image = randomBytes(600_000);
  const body = firmwareOf(image);
  const begun = halting(image, 300_000);
  const { source } = await openSource(t, (request, response) => {
    if (request.url === body.path) begun.send(response);
    else send(request, response, Buffer.from('other'));
  });
  const { cache, folder } = await openCache(t, source, { wanBytesPerS: () => null });
  cache.foresee([wanted(body)]);
  while (((await cache.rows())[0]?.receivedBytes ?? 0) === 0) await new Promise(setImmediate);
  const other = firmwareOf(Buffer.from('other'));
  cache.foresee([wanted(other)]);
  await held(cache, other.sha256);
  t.same(await readdir(folder), [other.sha256]);
});
