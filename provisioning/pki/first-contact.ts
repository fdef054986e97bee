/**
 * Connections to a server of ours of which only the root's fingerprint is known, or the root itself. Nothing is written before the
 * server's chain has been verified by our verifier, so that a code's secret reaches nobody else.
 */
import { Agent, type AgentOptions } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '../time/deadline.js';
import { type ConnectProxy, connectThrough } from '../transfer/connect-proxy.js';
import { type Certificate, parseCertificate } from './certificate.js';
import { peerChain, verifyPeer } from './tls-peer.js';
import type { CertificateIdentity, VerifyRequest } from './verify.js';

export interface ServerTrust extends Pick<VerifyRequest, 'at' | 'site' | 'isRevoked'> {
  readonly role: 'control-plane' | 'gateway-server';
  /** The root, or its SHA-256 in hexadecimal: then the server must send it along. */
  readonly root: Certificate | string;
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly trust: ServerTrust;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly alpnProtocols?: readonly string[];
  /** Through this proxy. */
  readonly via?: ConnectProxy | undefined;
  /** Our own certificate chain and key in PEM, for a server that asks. */
  readonly client?: { readonly cert: string; readonly key: string };
}

export interface VerifiedConnection {
  /** Nothing has been written to it yet. */
  readonly socket: TLSSocket;
  readonly root: Certificate;
  readonly server: CertificateIdentity;
}

const defaultTimeoutMs = 10_000;

/** Connects and verifies. Errors: CONNECTION_FAILED, DEADLINE_EXCEEDED, PEER_REFUSED (the socket is destroyed). */
export const connectVerified = (options: ConnectOptions): Promise<VerifiedConnection> => {
  const { host, port, trust, timeoutMs = defaultTimeoutMs, signal } = options;
  return withDeadline((signal) => handshake(options, signal), timeoutMs, {
    signal,
    doing: `connecting to ${host}:${port}`,
  }).then((socket) => {
    try {
      return { socket, ...checkServer(socket, trust, host) };
    } catch (error) {
      drop(socket);
      throw error;
    }
  });
};

/** Asks a server for the root it stands under, and verifies it against the fingerprint. Errors as connectVerified. */
export const fetchRoot = async (options: ConnectOptions): Promise<Certificate> => {
  const { socket, root } = await connectVerified(options);
  drop(socket);
  return root;
};

/** An agent for `node:https` and axios whose connections are verified before a request is written to them. */
export const verifiedAgent = (
  trust: ServerTrust,
  {
    timeoutMs,
    client,
    via,
    ...options
  }: AgentOptions & Pick<ConnectOptions, 'timeoutMs' | 'client' | 'via'> = {},
): Agent =>
  new VerifiedAgent(options, {
    trust,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(client && { client }),
    ...(via && { via }),
  });

/** Nobody listens any longer for what may still come of it. */
const drop = (socket: TLSSocket): void => {
  socket.on('error', () => undefined);
  socket.destroy();
};

const handshake = async (
  { host, port, alpnProtocols, client, via }: ConnectOptions,
  signal: AbortSignal,
): Promise<TLSSocket> => {
  const tunnel = via && (await connectThrough(via, { host, port }, signal));
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...(tunnel === undefined ? { host, port } : { socket: tunnel }),
      // Verified by our verifier below, before anything is written.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ...(isIP(host) === 0 && { servername: host }),
      ...(alpnProtocols && { ALPNProtocols: [...alpnProtocols] }),
      ...client,
    });
    const onAbort = () => drop(socket);
    signal.addEventListener('abort', onAbort, { once: true });
    const onError = (cause: Error) =>
      reject(
        new HoldfastError(
          'CONNECTION_FAILED',
          `${host}:${port} cannot be reached: ${cause.message}`,
          {
            cause,
          },
        ),
      );
    socket.once('error', onError);
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      resolve(socket);
    });
  });
};

const checkServer = (socket: TLSSocket, { root: trusted, ...trust }: ServerTrust, host: string) => {
  const root = typeof trusted === 'string' ? findRoot(socket, trusted) : trusted;
  return { root, server: verifyPeer(socket, { ...trust, root, host }) };
};

const findRoot = (socket: TLSSocket, sha256: string): Certificate => {
  for (const der of peerChain(socket)) {
    const certificate = parseCertificate(der);
    if (certificate.sha256 === sha256) return certificate;
  }
  throw new HoldfastError(
    'PEER_REFUSED',
    'The server does not belong to the fleet of this code: it shows another root. Check address and code',
    { data: { reason: 'root' } },
  );
};

class VerifiedAgent extends Agent {
  readonly #connect: Omit<ConnectOptions, 'host' | 'port'>;

  constructor(options: AgentOptions, connect: Omit<ConnectOptions, 'host' | 'port'>) {
    super(options);
    this.#connect = connect;
  }

  override createConnection(
    options: { host?: string | undefined; port?: number | string | undefined },
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const { host = 'localhost', port = 443 } = options;
    connectVerified({ ...this.#connect, host, port: Number(port) }).then(
      ({ socket }) => callback?.(null, socket),
      // Node's own agent looks at the error first and at the stream only without one.
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    );
    return undefined;
  }
}
