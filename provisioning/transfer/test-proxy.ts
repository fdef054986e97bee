/** An HTTP proxy that allows CONNECT, for tests: it may want a password, and allow some ports alone. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface TestProxyOptions {
  /** `user:password`. */
  readonly credentials?: string;
  readonly allowedPorts?: readonly number[];
}

export interface TestProxy {
  readonly host: string;
  readonly port: number;
  /** What was asked for, with the status it got. */
  readonly asked: { readonly target: string; readonly status: number }[];
  close(): Promise<void>;
}

export const openTestProxy = async (options: TestProxyOptions = {}): Promise<TestProxy> => {
  const asked: { target: string; status: number }[] = [];
  const sockets = new Set<Socket>();
  const expected =
    options.credentials && `Basic ${Buffer.from(options.credentials).toString('base64')}`;
  const server = createServer((_, response) => response.writeHead(400).end());
  server.on('connect', ({ url = '', headers }, near: Socket) => {
    const [host = '', port] = url.split(':');
    const status =
      expected !== undefined && headers['proxy-authorization'] !== expected
        ? 407
        : (options.allowedPorts?.includes(Number(port)) ?? true)
          ? 200
          : 403;
    asked.push({ target: url, status });
    sockets.add(near);
    near.on('error', () => near.destroy());
    if (status !== 200) {
      near.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const far = connect({ host, port: Number(port) }, () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.pipe(near).pipe(far);
    });
    sockets.add(far);
    far.on('error', () => near.end('HTTP/1.1 502 Bad gateway\r\n\r\n'));
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    asked,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};
