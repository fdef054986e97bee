/** The broker's two doors: TLS with a client certificate for devices, plain on the loopback for services of this machine. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from 'node:tls';
import { Doorman, type DoormanOptions } from './doorman.js';

export interface Listener {
  readonly port: number;
  close(): Promise<void>;
}
export interface TlsListener extends Listener {
  renewCertificate(tls: SecureContextOptions): void;
}

/** `entered` is to be called once the client is known, or the socket is closed. */
export type OnSocket<S extends Socket> = (socket: S, entered: () => void) => void;

/** Half-open connections of clients without keepalive are found by TCP itself. */
const serverOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

export async function listenPlain(
  address: { readonly host: string; readonly port: number },
  options: { readonly doorman: DoormanOptions; readonly onError: (error: Error) => void },
  onSocket: OnSocket<Socket>,
): Promise<Listener> {
  const door = new Doorman(options.doorman);
  const server = createServer(serverOptions, (socket) => {
    door.admit(socket, (entered) => onSocket(socket, entered));
  });
  return listen(server, door, address, options.onError);
}

export async function listenTls(
  address: { readonly host: string; readonly port: number },
  options: {
    readonly tls: SecureContextOptions;
    readonly handshakeTimeoutMs: number;
    readonly doorman: DoormanOptions;
    readonly onError: (error: Error) => void;
  },
  onSocket: OnSocket<TLSSocket>,
): Promise<TlsListener> {
  const door = new Doorman(options.doorman);
  let secureContext = contextOf(options.tls);
  const server = createServer({ ...serverOptions, pauseOnConnect: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    door.admit(socket, (entered) => {
      const secured = new TLSSocket(socket, {
        isServer: true,
        secureContext,
        requestCert: true,
        // Our own verifier decides after the handshake: OpenSSL judges dates by a clock that may not be trusted.
        rejectUnauthorized: false,
      });
      const timer = setTimeout(() => socket.destroy(), options.handshakeTimeoutMs);
      secured.on('error', () => secured.destroy());
      secured.once('close', () => {
        clearTimeout(timer);
        entered();
      });
      secured.once('secure', () => {
        clearTimeout(timer);
        onSocket(secured, entered);
      });
    });
  });
  const listener = await listen(server, door, address, options.onError);
  return {
    ...listener,
    renewCertificate: (tls) => {
      secureContext = contextOf(tls);
    },
  };
}

const contextOf = (tls: SecureContextOptions): SecureContext =>
  // OpenSSL refuses to resume a session of a client with a certificate when the server has no context of its own.
  createSecureContext({ minVersion: 'TLSv1.2', sessionIdContext: 'holdfast-mqtt', ...tls });

async function listen(
  server: Server,
  door: Doorman,
  address: { readonly host: string; readonly port: number },
  onError: (error: Error) => void,
): Promise<Listener> {
  server.listen({ ...address, backlog: 1_024 });
  await once(server, 'listening');
  // A connection that could not be accepted, for want of memory or descriptors, must not end the program.
  server.on('error', onError);
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    close: () =>
      new Promise((resolve) => {
        door.close();
        server.close(() => resolve());
      }),
  };
}
