/** The network of devices in tests: one that breaks off, one that is slow, and a tunnel for programs that know no certificates. */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A network that breaks off: each of the first connections that have brought so many bytes to the device is cut. */
export interface BadNetwork {
  readonly port: number;
  /** Connections that were cut. */
  readonly cuts: number;
  close(): Promise<void>;
}

export interface BadNetworkOptions {
  readonly to: number;
  readonly cutAfterBytes?: number;
  readonly mostCuts?: number;
  /** What comes through to the device in a second, of each connection. */
  readonly bytesPerS?: number;
}

export const openBadNetwork = async ({
  to,
  cutAfterBytes = Number.POSITIVE_INFINITY,
  mostCuts = 0,
  bytesPerS,
}: BadNetworkOptions): Promise<BadNetwork> => {
  let cuts = 0;
  const open = new Set<Socket>();
  const server = createServer((device) => {
    const gateway = connect(to, '127.0.0.1');
    let bytes = 0;
    for (const socket of [device, gateway]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        open.delete(socket);
        device.destroy();
        gateway.destroy();
      });
    }
    device.pipe(gateway);
    gateway.on('data', (chunk: Buffer) => {
      if (device.destroyed) return;
      bytes += chunk.length;
      if (bytes > cutAfterBytes && cuts < mostCuts) {
        cuts += 1;
        device.destroy();
        return;
      }
      device.write(chunk);
      if (bytesPerS === undefined) return;
      gateway.pause();
      setTimeout(() => gateway.resume(), (1_000 * chunk.length) / bytesPerS);
    });
    gateway.once('end', () => device.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    // It listens on a port.
    port: (server.address() as AddressInfo).port,
    get cuts() {
      return cuts;
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};

/** As stunnel on the device: plain HTTP on its loopback, the gateway's HTTPS with the device's certificate beyond it. */
export interface Tunnel {
  readonly url: string;
  /** Bytes that came to the device. */
  readonly bytes: number;
  /** Ranges that it asked for. */
  readonly ranges: readonly string[];
  lead(to: TunnelEnd): void;
  close(): Promise<void>;
}

export interface TunnelEnd {
  readonly port: number;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export const openTunnel = async (): Promise<Tunnel> => {
  let end: TunnelEnd | undefined;
  let bytes = 0;
  const ranges: string[] = [];
  const server = createHttpServer((asked, answered) => {
    const { url: path, method, headers } = asked;
    ranges.push(headers.range ?? '');
    const forwarded = request(
      { ...end, host: '127.0.0.1', path, method, headers: { ...headers, host: 'localhost' } },
      (response) => {
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        answered.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answered);
      },
    );
    forwarded.once('error', () => answered.destroy());
    forwarded.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    // It listens on a port.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get bytes() {
      return bytes;
    },
    ranges,
    lead: (to) => {
      end = to;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};
