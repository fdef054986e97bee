import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import { sendError } from '../doors/local/http-error.js';
import { ChunkCache } from './chunk-cache.js';
import type { HeldImage } from './held-images.js';
import { ImageServer, type ImageServerOptions, type ServedAs } from './image-server.js';
import { WriteTurns } from './write-turns.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openServer = async (
  t: Test,
  image: Buffer,
  { tag, mayGoOn, ...options }: ImageServerOptions & ServedAs = {},
) => {
  const folder = await mkdtemp(join(tmpdir(), 'image-server-'));
  const sha256 = createHash('sha256').update(image).digest('hex');
  const path = join(folder, sha256);
  await writeFile(path, image);
  const held: HeldImage & { arrival: number } = {
    ...{ sha256, path, sizeBytes: image.length },
    arrival: 1,
  };
  const checked: string[] = [];
  const refused: string[] = [];
  /** Settles when its answer is over. */
  const served: Promise<void>[] = [];
  const images = new ImageServer(
    {
      firmware: {
        get: async (digest) => (digest === sha256 ? held : undefined),
        isNeeded: (digest) => digest === 'coming',
        check: async (digest) => void checked.push(digest),
      },
      log,
      chunks: new ChunkCache({ maxBytes: 200_000, chunkBytes: 65_536 }),
    },
    options,
  );
  const server = createServer((request, response) => {
    const path = request.url?.slice(1) ?? '';
    const answer = images.serve(request, response, path, {
      ...(tag && { tag }),
      ...(mayGoOn && { mayGoOn }),
    });
    served.push(
      answer.catch((error: unknown) => {
        if (isHoldfastError(error)) refused.push(error.code);
        sendError(request, response, error);
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  const { port } = server.address() as AddressInfo;
  /** Resolves with the head of the answer. */
  const begin = async (
    headers: OutgoingHttpHeaders = {},
    { method = 'GET', digest = sha256 } = {},
  ): Promise<IncomingMessage> => {
    const asked = httpRequest({ port, path: `/${digest}`, headers, method, agent: false }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return response;
  };
  const ask = async (...of: Parameters<typeof begin>) => {
    const response = await begin(...of);
    const { statusCode: status, headers } = response;
    return { status, headers, body: await buffer(response) };
  };
  return { ask, begin, served, images, held, sha256, checked, refused };
};

t.test('serves the whole, ranges and heads from few shared chunks', async (t) => {
  const image = randomBytes(3_000_000);
  const { ask, held, sha256, checked } = await openServer(t, image);
  for (const { status, body } of await Promise.all(Array.from({ length: 5 }, () => ask()))) {
    t.equal(status, 200);
    t.ok(body.equals(image));
  }
  const etag = `"${sha256}"`;
  const head = await ask({}, { method: 'HEAD' });
  t.match(head.headers, { etag, 'content-length': String(image.length) });
  t.equal(head.body.length, 0);
  const part = await ask({ range: 'bytes=65530-131080' });
  t.equal(part.status, 206);
  t.ok(part.body.equals(image.subarray(65_530, 131_081)));
  t.ok((await ask({ range: 'bytes=-7' })).body.equals(image.subarray(-7)));
  t.equal((await ask({ range: `bytes=${image.length}-` })).status, 416);
  t.equal((await ask({ 'if-none-match': etag })).status, 304);

  const { headers, body } = await ask({ range: 'bytes=0-9,65530-65540,-5' });
  const boundary = /^multipart\/byteranges; boundary=(\w+)$/.exec(headers['content-type'] ?? '');
  const parts = body.toString('latin1').split(`\r\n--${boundary?.[1]}`);
  t.same(
    parts.map((text) => text.split('\r\n\r\n')[1]),
    [
      undefined,
      image.toString('latin1', 0, 10),
      image.toString('latin1', 65_530, 65_541),
      image.toString('latin1', image.length - 5),
      undefined,
    ],
  );
  t.equal(headers['content-length'], `${body.length}`);

  await truncate(held.path, 10);
  await t.rejects(ask({ range: 'bytes=2000000-' }), 'a damaged file is never passed off as whole');
  t.same(checked, [sha256]);
  await writeFile(held.path, image);
  held.arrival += 1;
  t.ok((await ask({ range: 'bytes=2000000-' })).body.equals(image.subarray(2_000_000)));
});

t.test('a door may name it by another digest', async (t) => {
  const image = randomBytes(1_000);
  const sha1 = createHash('sha1').update(image).digest('hex');
  const { ask, sha256 } = await openServer(t, image, { tag: sha1 });
  t.equal((await ask()).headers.etag, `"${sha1}"`);
  t.equal((await ask({ range: 'bytes=5-', 'if-range': `"${sha1}"` })).status, 206);
  t.equal((await ask({ range: 'bytes=5-', 'if-range': `"${sha256}"` })).status, 200);
});

t.test('says when to ask again for what is on its way, and that there is nothing', async (t) => {
  const { ask } = await openServer(t, randomBytes(10));
  t.match(await ask({}, { digest: 'coming' }), { status: 503, headers: { 'retry-after': '10' } });
  t.equal((await ask({}, { digest: 'another' })).status, 404);
});

t.test('more than there are places for are told to come again', async (t) => {
  const image = randomBytes(32 * 1024 * 1024);
  const { ask, begin, images, refused } = await openServer(t, image, { maxDownloads: 2 });
  const slow = await Promise.all([begin(), begin()]);
  t.equal(images.downloads, 2);
  const third = await ask();
  t.match(third, { status: 503, headers: { 'retry-after': '5' } });
  t.same(refused, ['FIRMWARE_BUSY']);
  t.equal((await ask({}, { method: 'HEAD' })).status, 200, 'this takes no place');
  t.ok((await buffer(slow[0] as IncomingMessage)).equals(image));
  slow[1]?.destroy();
  t.ok((await ask()).body.equals(image), 'there is room again');
});

t.test('one who takes nothing is cut, and gives his place back', async (t) => {
  const image = randomBytes(32 * 1024 * 1024);
  const { ask, begin, served, images } = await openServer(t, image, {
    maxDownloads: 1,
    stalledAfterMs: 100,
  });
  const stalled = await begin();
  stalled.on('error', () => undefined);
  t.equal(images.downloads, 1);
  await served[0];
  t.equal(images.downloads, 0);
  t.equal((await ask({ range: 'bytes=0-9' })).status, 206);
});

t.test('between two writes everything else has its turn', async (t) => {
  const turns = new WriteTurns();
  const order: string[] = [];
  const writes = Array.from({ length: 4 }, async (_, at) => {
    await turns.next();
    order.push(`write ${at}`);
    setImmediate(() => order.push('other'));
  });
  await Promise.all(writes);
  t.same(
    order.filter((one) => one !== 'other'),
    ['write 0', 'write 1', 'write 2', 'write 3'],
  );
  t.ok(order.indexOf('other') < order.indexOf('write 2'), order.join());
});

t.test('a download that is taken back ends there', async (t) => {
  const image = randomBytes(3_000_000);
  let pieces = 0;
  const { begin, images, served } = await openServer(t, image, {
    mayGoOn: () => {
      pieces += 1;
      return pieces <= 2;
    },
  });
  const response = await begin();
  await t.rejects(buffer(response), { code: 'ECONNRESET' });
  await Promise.all(served);
  t.equal(pieces, 3);
  t.equal(images.downloads, 0);
});
