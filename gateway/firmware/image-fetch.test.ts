import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FirmwareBody, FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import { deltaFormat, digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import { encodeDelta } from '@holdfast/provisioning/delta/encode-delta';
import t, { type Test } from 'tap';
import {
  type Answer,
  firmwareOf,
  held,
  openCache,
  openSource,
  send,
  sha256Of,
  startOf,
} from './firmware-fixture.js';

const before = randomBytes(60_000);
const after = Buffer.concat([before.subarray(0, 9_000), randomBytes(100), before.subarray(9_000)]);

/** The same but for one byte. */
const near = (bytes: Buffer): Buffer => {
  const other = Buffer.from(bytes);
  other.writeUInt8(bytes.readUInt8(20_000) ^ 1, 20_000);
  return other;
};

const deltaOf = async (t: Test, source: Buffer, target: Buffer): Promise<Buffer> => {
  const folder = await mkdtemp(join(tmpdir(), 'image-fetch-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'delta');
  await encodeDelta(source, target, path);
  return readFile(path);
};

const named = (delta: Buffer, source: Buffer): FirmwareDelta => ({
  from_sha256: source.length === 0 ? digestOfNothing : sha256Of(source),
  from_version: source.length === 0 ? '' : '1',
  format: deltaFormat,
  sha256: sha256Of(delta),
  size_bytes: delta.length,
  path: `/firmware/${sha256Of(delta)}`,
});

/** A control plane that has two images and a delta, and a cache that holds the first image, unless told otherwise. */
const openUpdate = async (
  t: Test,
  delta: Buffer,
  {
    holds = true,
    answer = (request, response) => {
      const files = [before, after, delta];
      const file = files.find((one) => request.url === `/firmware/${sha256Of(one)}`);
      send(request, response, file ?? Buffer.alloc(0));
    },
    source: from = before,
    quotaBytes = 10_000_000,
  }: {
    readonly holds?: boolean;
    readonly answer?: Answer;
    readonly source?: Buffer;
    readonly quotaBytes?: number;
  } = {},
) => {
  const { source, requests } = await openSource(t, answer);
  const { cache, folder } = await openCache(t, source, { quotaBytes });
  const old = firmwareOf(before, '1');
  if (holds) {
    cache.need([old]);
    await held(cache, old.sha256);
    requests.length = 0;
  }
  const body: FirmwareBody = { ...firmwareOf(after, '2'), deltas: [named(delta, from)] };
  const update = async (): Promise<void> => {
    cache.need([body]);
    await held(cache, body.sha256);
  };
  const asked = () => requests.map(({ url }) => (url === body.path ? 'image' : 'delta'));
  return { cache, folder, body, update, asked };
};

t.test(
  'makes an image of the one before and a delta, and keeps that for its devices',
  async (t) => {
    const delta = await deltaOf(t, before, after);
    const { cache, folder, body, update, asked } = await openUpdate(t, delta);
    await update();
    t.same(asked(), ['delta']);
    t.ok(delta.length < 1_000, `${delta.length} bytes`);
    t.same(await readFile(join(folder, body.sha256)), after);
    t.ok(cache.isHeld(sha256Of(delta)));
    const rows = await cache.rows();
    t.match(rows[0], { version: '2', state: 'held' });
    t.match(
      rows.find(({ sha256 }) => sha256 === sha256Of(delta)),
      { model: 'pi', version: '2', deltaFrom: '1' },
    );
  },
);

t.test('fetches the image itself where it holds no source', async (t) => {
  const { update, asked } = await openUpdate(t, await deltaOf(t, before, after), { holds: false });
  await update();
  t.same(asked(), ['image']);
});

t.test('fetches an image compressed where that is less', async (t) => {
  const zeros = Buffer.alloc(60_000);
  const delta = await deltaOf(t, Buffer.alloc(0), zeros);
  const { source, requests } = await openSource(t, (request, response) =>
    send(request, response, delta),
  );
  const { cache, folder } = await openCache(t, source);
  const body = { ...firmwareOf(zeros), deltas: [named(delta, Buffer.alloc(0))] };
  cache.need([body]);
  await held(cache, body.sha256);
  t.equal(requests.length, 1);
  t.same(await readFile(join(folder, body.sha256)), zeros);
});

t.test(
  'a delta that is damaged, of other images, or not to be had costs its bytes alone',
  async (t) => {
    const good = await deltaOf(t, before, after);
    const hostile = Buffer.from(good);
    hostile.fill(0xff, 20, 60);
    const answerWith =
      (asked: Answer): Answer =>
      (request, response, count) => {
        const image = [before, after].find((one) => request.url === `/firmware/${sha256Of(one)}`);
        if (image === undefined) asked(request, response, count);
        else send(request, response, image);
      };
    const rows: [string, Buffer, Answer | undefined][] = [
      ['it is damaged at its origin', hostile, undefined],
      ['it makes another image', await deltaOf(t, before, near(after)), undefined],
      ['it is for another source', await deltaOf(t, near(before), after), undefined],
      ['it is truncated at its origin', good.subarray(0, good.length - 9), undefined],
      [
        'it is tampered with on the way',
        good,
        answerWith((request, response) => send(request, response, hostile)),
      ],
      ['it is withdrawn', good, answerWith((_, response) => response.writeHead(410).end())],
      ['nobody has it', good, answerWith((_, response) => response.writeHead(404).end())],
    ];
    for (const [why, delta, answer] of rows) {
      await t.test(why, async (t) => {
        const { cache, folder, body, update, asked } = await openUpdate(
          t,
          delta,
          answer === undefined ? {} : { answer },
        );
        await update();
        t.same(new Set(asked()), new Set(['delta', 'image']));
        t.equal(asked().at(-1), 'image');
        t.same(await readFile(join(folder, body.sha256)), after);
        t.notOk(cache.isHeld(sha256Of(delta)), 'nobody else gets it');
        t.notOk((await readdir(folder)).some((name) => name.endsWith('.rebuilding')));
      });
    }
  },
);

t.test('a delta goes on where a break left it', async (t) => {
  const grown = Buffer.concat([before, randomBytes(100_000)]);
  const delta = await deltaOf(t, before, grown);
  const starts: number[] = [];
  const { source } = await openSource(t, (request, response) => {
    if (request.url === `/firmware/${sha256Of(before)}`) return send(request, response, before);
    starts.push(startOf(request));
    return send(request, response, delta, starts.length < 3 ? 30_000 : undefined);
  });
  const { cache, folder } = await openCache(t, source);
  const old = firmwareOf(before, '1');
  cache.need([old]);
  await held(cache, old.sha256);
  const body = { ...firmwareOf(grown), deltas: [named(delta, before)] };
  cache.need([body]);
  await held(cache, body.sha256);
  t.equal(starts.length, 3);
  t.ok(
    starts.every((start, i) => i === 0 || start > (starts[i - 1] ?? 0)),
    `starts ${starts}`,
  );
  t.same(await readFile(join(folder, body.sha256)), grown);
});

t.test('a WAN that is away for long costs no delta', async (t) => {
  const delta = await deltaOf(t, before, after);
  let asked = 0;
  const { update, asked: all } = await openUpdate(t, delta, {
    answer: (request, response) => {
      if (request.url === `/firmware/${sha256Of(before)}`) return send(request, response, before);
      if (request.url === `/firmware/${sha256Of(after)}`) return send(request, response, after);
      asked += 1;
      if (asked <= 6) return void request.socket.destroy();
      return send(request, response, delta);
    },
  });
  await update();
  t.same(new Set(all()), new Set(['delta']), 'the whole image was never asked for');
});

t.test('a source that is damaged makes nothing, and a full cache no delta', async (t) => {
  const delta = await deltaOf(t, before, after);
  const damaged = await openUpdate(t, delta);
  await writeFile(join(damaged.folder, sha256Of(before)), 'damaged');
  await damaged.cache.check(sha256Of(before));
  await damaged.update();
  t.same(damaged.asked().at(-1), 'image');

  const tight = await openUpdate(t, delta, { quotaBytes: after.length + 50 });
  await tight.update();
  t.same(tight.asked(), ['image'], 'there is room for one image alone');
});
