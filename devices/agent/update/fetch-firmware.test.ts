import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type FirmwareRequest, fetchFirmware } from './fetch-firmware.js';

const firmware = randomBytes(300_000);
const sha256 = createHash('sha256').update(firmware).digest('hex');
const signal = new AbortController().signal;

type Answer = (request: IncomingMessage, response: ServerResponse, from: number) => void;

/** Serves with Range, as a gateway does. */
const serve: Answer = (_request, response, from) => {
  if (from > 0) {
    const range = `bytes ${String(from)}-${String(firmware.length - 1)}/${String(firmware.length)}`;
    response.writeHead(206, { 'content-range': range });
  }
  response.end(firmware.subarray(from));
};

const breakAfter =
  (bytes: number): Answer =>
  (_request, response, from) => {
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': firmware.length - from,
      ...(from > 0 && { 'content-range': `bytes ${String(from)}-` }),
    });
    response.write(firmware.subarray(from, from + bytes), () => response.destroy());
  };

const setUp = async (t: Test, answers: Answer[]) => {
  const froms: number[] = [];
  const server = createServer((request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    froms.push(from);
    (answers.shift() ?? serve)(request, response, from);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-download-'));
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });
  const { port } = server.address() as AddressInfo;
  const path = join(directory, 'firmware');
  const request: FirmwareRequest = {
    sha256,
    sizeBytes: firmware.length,
    path,
    url: () => `http://127.0.0.1:${String(port)}/firmware/sha256/${sha256}`,
  };
  return { request, froms, path };
};
const options = { signal, firstRetryMs: 1 };

t.test('goes on where it was broken off, and not from the start', async (t) => {
  const { request, froms, path } = await setUp(t, [breakAfter(100_000), breakAfter(100_000)]);
  const percents: number[] = [];
  await fetchFirmware(request, { ...options, onProgress: (percent) => percents.push(percent) });
  t.ok((await readFile(path)).equals(firmware));
  t.equal(froms.length, 3);
  t.ok((froms[1] ?? 0) > 0 && (froms[2] ?? 0) > (froms[1] ?? 0));
  t.equal(percents.at(-1), 100);
});

t.test('resumes what a process before it left', async (t) => {
  const { request, froms, path } = await setUp(t, []);
  await writeFile(`${path}.part`, firmware.subarray(0, 200_000));
  await fetchFirmware(request, options);
  t.same(froms, [200_000]);
  t.ok((await readFile(path)).equals(firmware));
  await t.rejects(access(`${path}.part`));
});

t.test('asks for nothing when the whole part is there', async (t) => {
  const { request, froms, path } = await setUp(t, []);
  await writeFile(`${path}.part`, firmware);
  await fetchFirmware(request, options);
  t.same(froms, []);
});

t.test('begins again when the server knows no Range', async (t) => {
  const { request, path } = await setUp(t, [(_request, response) => response.end(firmware)]);
  await writeFile(`${path}.part`, firmware.subarray(0, 10));
  await fetchFirmware(request, options);
  t.ok((await readFile(path)).equals(firmware));
});

t.test('a damaged part costs one whole download, no more', async (t) => {
  const { request, froms, path } = await setUp(t, []);
  await writeFile(`${path}.part`, Buffer.alloc(1_000));
  await fetchFirmware(request, options);
  t.same(froms, [1_000, 0]);
  t.ok((await readFile(path)).equals(firmware));
});

t.test('other bytes of the right size are never there', async (t) => {
  const { request, path } = await setUp(t, [
    (_request, response) => response.end(randomBytes(firmware.length)),
  ]);
  await t.rejects(fetchFirmware(request, options), { code: 'UPDATE_DIGEST_MISMATCH' });
  await t.rejects(access(path));
  await t.rejects(access(`${path}.part`));
});

t.test('more bytes than promised are not written', async (t) => {
  const { request, path } = await setUp(t, []);
  await t.rejects(fetchFirmware({ ...request, sizeBytes: 1_000 }, options), {
    code: 'UPDATE_DIGEST_MISMATCH',
  });
  await t.rejects(access(path));
});

t.test('waits for a gateway that is busy or starting, not for one that refuses', async (t) => {
  const status =
    (code: number): Answer =>
    (_request, response) =>
      response.writeHead(code).end('no');
  const busy = await setUp(t, [status(503), status(404)]);
  await fetchFirmware(busy.request, options);
  t.equal(busy.froms.length, 3);
  const refusing = await setUp(t, [status(403)]);
  await t.rejects(fetchFirmware(refusing.request, options), { code: 'UPDATE_DOWNLOAD_FAILED' });
});

t.test('gives a silent server up and asks again', async (t) => {
  const untilHeard: Answer = (request, response, from) => {
    if (from > 0) return serve(request, response, from);
    answers.push(untilHeard);
    return response.write(firmware.subarray(0, 1_000));
  };
  const answers = [untilHeard];
  const { request, froms } = await setUp(t, answers);
  await fetchFirmware(request, { ...options, idleTimeoutMs: 50 });
  // On a machine with other work the time may be over before the first bytes have come, and once more among the last.
  t.same([...new Set(froms)].slice(0, 2), [0, 1_000]);
});

t.test('ends with its signal', async (t) => {
  const stop = new AbortController();
  const { request } = await setUp(t, [
    (_request, response) => {
      response.write(firmware.subarray(0, 1_000), () => stop.abort(new Error('withdrawn')));
    },
  ]);
  await t.rejects(fetchFirmware(request, { ...options, signal: stop.signal }), {
    message: 'withdrawn',
  });
});

t.test('gives up a server that takes a request and never answers it', async (t) => {
  const { request, froms } = await setUp(t, [() => undefined]);
  await fetchFirmware(request, { ...options, idleTimeoutMs: 50 });
  t.ok(froms.length > 1);
  t.equal(froms[1], 0);
});

t.test('a full disk ends it: what has no room now has none for hours', async (t) => {
  const { request, path } = await setUp(t, []);
  await symlink('/dev/full', `${path}.part`);
  await t.rejects(fetchFirmware(request, { ...options, deadlineMs: 2_000 }), {
    code: 'STORE_FULL',
  });
});
