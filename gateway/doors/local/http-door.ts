/**
 * One HTTPS listener and its routes. Each route says who may ask; a request is refused before its body is read. Everything that a
 * stranger may hold open (handshake, headers, body, idle connection) has a time limit, everything he may send a size limit.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseJson } from '@holdfast/protos/mqtt/json-payload';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { authorise, type DenialReason } from '../../trust/authorise.js';
import type {
  DeviceIdentity,
  Principal,
  TargetIdentity,
  UrlIdentity,
} from '../../trust/identity.js';
import { sendError } from './http-error.js';
import { type FoundRoute, findRoute, type Route } from './routes.js';

export interface HttpDoorDeps {
  readonly routes: readonly Route[];
  /** Who asks. Decides nothing. */
  readonly identify: (request: IncomingMessage, found: FoundRoute) => Principal;
  /** How the refusal of a request is told, once it is decided. */
  readonly refusal: (request: IncomingMessage, refused: RefusedCall) => HoldfastError;
  readonly log: StoreLog;
}

export interface RefusedCall {
  readonly who: Principal;
  readonly route: Route;
  readonly reason: DenialReason;
}

export interface HttpDoorOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: SecureContextOptions;
  /** Whether clients are asked for a certificate; nobody is refused for having none before a route says so. */
  readonly asksForCertificate: boolean;
  readonly maxConnections?: number;
  /** For headers and body together, ms. */
  readonly requestTimeoutMs?: number;
}

/** Who is known for a device, by whatever it has shown. */
export type KnownCaller = DeviceIdentity | TargetIdentity | UrlIdentity;

export interface HttpDoor {
  readonly port: number;
  /** For new connections. */
  renewCertificate(tls: SecureContextOptions): void;
  /** Cuts the connections of devices that hold no longer, whatever is under way on them. */
  cut(isToGo: (who: KnownCaller) => boolean): void;
  /** Takes nothing new, gives what is under way a moment, then cuts it. Idempotent. */
  close(): Promise<void>;
}

const bodyLimits = { maxBytes: 65_536, maxDepth: 16 };
const withBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const closeGraceMs = 2_000;

export const openHttpDoor = async (
  { routes, identify, refusal, log }: HttpDoorDeps,
  options: HttpDoorOptions,
): Promise<HttpDoor> => {
  const { host, port, tls, asksForCertificate, requestTimeoutMs = 15_000 } = options;
  const server = createServer(
    {
      ...tls,
      minVersion: 'TLSv1.2',
      requestCert: asksForCertificate,
      // Our own verifier decides, for the routes that require it.
      rejectUnauthorized: false,
      handshakeTimeout: 10_000,
      headersTimeout: Math.min(10_000, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: 10_000,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      maxHeaderSize: 16_384,
    },
    (request, response) => {
      answer(request, response).catch((error: unknown) => {
        const isTold = sendError(request, response, error);
        // What follows the path may be a right of its own.
        const path = request.url?.split('?')[0];
        if (!isTold) log.error({ err: error, path }, 'a request could not be answered');
      });
    },
  );
  server.maxConnections = options.maxConnections ?? 2_000;
  server.maxRequestsPerSocket = 10_000;
  server.on('tlsClientError', (_error, socket) => socket.destroy());

  /** Who has shown itself on a connection that is open. */
  const known = new Map<Socket, KnownCaller>();
  const remember = (socket: Socket, device: KnownCaller): void => {
    if (!known.has(socket)) socket.once('close', () => known.delete(socket));
    known.set(socket, device);
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('cache-control', 'no-store');
    const found = findRoute(routes, request);
    const { route, params, query } = found;
    const who = identify(request, found);
    if (who.kind === 'device' || who.kind === 'url' || who.kind === 'target') {
      remember(request.socket, who);
    }
    const decision = authorise(who, 'call', route.right);
    if (!decision.allowed) throw refusal(request, { who, route, reason: decision.reason });
    const body = withBody.has(route.method) ? await readBody(request, route.body) : null;
    const result = await route.handle({ request, response, params, query, body, who });
    if (result === undefined) return;
    const text = JSON.stringify(result);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  };

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => log.error({ err: error }, 'an HTTPS listener failed'));

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      server.closeIdleConnections();
    });
  return {
    // Listening on a host and port, it is no pipe.
    port: (server.address() as AddressInfo).port,
    renewCertificate: (renewed) => server.setSecureContext(renewed),
    cut: (isToGo) => {
      for (const [socket, device] of known) if (isToGo(device)) socket.destroy();
    },
    close: () => (closing ??= close()),
  };
};

/** The TLS connection of a request: only HTTPS servers are made here. */
export const socketOf = (request: IncomingMessage): TLSSocket => request.socket as TLSSocket;

const readBody = async (
  request: IncomingMessage,
  form: Route['body'] = 'json',
): Promise<unknown> => {
  const tooLarge = () =>
    new HoldfastError('REQUEST_TOO_LARGE', `a request has at most ${bodyLimits.maxBytes} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > bodyLimits.maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > bodyLimits.maxBytes) throw tooLarge();
    chunks.push(chunk as Buffer);
  }
  const body = Buffer.concat(chunks);
  if (form === 'bytes') return body;
  const parsed = parseJson(body, bodyLimits);
  if (!parsed.ok) throw new HoldfastError('REQUEST_INVALID', parsed.reason);
  return parsed.value;
};
