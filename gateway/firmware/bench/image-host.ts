/** The gateway's image server alone, over HTTP and over TLS, as a program: what the bench sets beside nginx. Arguments: image, key, chain. */
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { basename } from 'node:path';
import { ImageServer } from '../image-server.js';

const [path = '', key = '', cert = ''] = process.argv.slice(2);
const image = { sha256: basename(path), path, sizeBytes: (await stat(path)).size, arrival: 1 };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const images = new ImageServer({
  firmware: {
    get: async () => image,
    isNeeded: () => false,
    check: async () => undefined,
  },
  log,
});
const answer: RequestListener = (request, response) => {
  images.serve(request, response, image.sha256).catch(() => response.destroy());
};

const portOf = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};
const tls = { key: await readFile(key), cert: await readFile(cert) };
const ports = {
  http: await portOf(createHttp(answer)),
  https: await portOf(createHttps(tls, answer)),
};
process.stdout.write(`${JSON.stringify(ports)}\n`);
process.on('SIGTERM', () => process.exit(0));
