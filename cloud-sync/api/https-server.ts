/**
 * The HTTPS door: what is too large for gRPC. Every route says whom it serves. Certificates are asked for and judged by our own
 * verifier, a request at a time, so that what is revoked is out at once.
 */

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import { errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { verifyPeer } from '@holdfast/provisioning/pki/tls-peer';
import type { GatewayIdentity } from '../link/gateway-identity.js';
import { fencedReason, recognise } from '../link/meeting.js';
import type { SqlEngine } from '../store/sql-engine.js';
import type { ServerCertificate } from './grpc-server.js';

/** Serves what its path matches. Throws a HoldfastError before it has begun to answer. */
export interface HttpsRoute {
  readonly method: 'GET' | 'POST';
  /** Anchored at both ends; its groups are handed to `serve`. HEAD is served by GET. */
  readonly path: RegExp;
  /** How long after its end the gateway's certificate is still taken, ms; 0 unless given. */
  readonly expiredForMs?: number;
  /** Only gateways of the fleet; the one that asks is handed over. */
  readonly serve: (request: GatewayHttpRequest, response: ServerResponse) => Promise<void>;
}

/** A file that anybody may have. */
export interface PublicFile {
  readonly path: string;
  readonly contentType: string;
  /** Undefined while there is none. */
  readonly read: () => Promise<Buffer | undefined>;
}

export interface GatewayHttpRequest {
  readonly request: IncomingMessage;
  readonly gateway: GatewayIdentity;
  readonly groups: readonly string[];
  /** Aborts when the gateway went away. */
  readonly signal: AbortSignal;
}

export interface HttpsServerDependencies {
  readonly engine: SqlEngine;
  readonly root: Certificate;
  /** Whether the root has taken a certificate back. */
  readonly isRevoked?: (issuerKeyId: string, serial: string) => boolean;
  readonly now: () => number;
  readonly log: { error(data: object, message: string): void };
}

export interface HttpsServerOptions {
  readonly host: string;
  readonly port: number;
  readonly certificate: ServerCertificate;
  readonly routes: readonly HttpsRoute[];
  readonly files?: readonly PublicFile[];
}

export interface HttpsServer {
  readonly port: number;
  /** Cuts what is under way: whoever downloads resumes. Idempotent. */
  close(): Promise<void>;
}

export const openHttpsServer = async (
  deps: HttpsServerDependencies,
  { host, port, certificate, routes, files = [] }: HttpsServerOptions,
): Promise<HttpsServer> => {
  const server = createServer(
    {
      cert: certificate.cert,
      key: certificate.key,
      minVersion: 'TLSv1.2',
      requestCert: true,
      rejectUnauthorized: false,
      maxHeaderSize: 16 * 1024,
      requestTimeout: 60_000,
      headersTimeout: 20_000,
    },
    (request, response) => {
      answer(deps, { routes, files }, request, response).catch((error: unknown) =>
        refuse(deps, response, error),
      );
    },
  );
  server.maxConnections = 2_000;
  const stopFollowing = certificate.onRenewed(() => {
    server.setSecureContext({ cert: certificate.cert, key: certificate.key });
  });
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    const text = `${host}:${port} cannot be listened on: ${messageOf(cause)}`;
    throw new HoldfastError('CONFIGURATION_INVALID', text, { cause });
  }
  let closing: Promise<void> | undefined;
  return {
    // Listening on host and port, its address is one of these.
    port: (server.address() as AddressInfo).port,
    close: () => {
      stopFollowing();
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closing;
    },
  };
};

const answer = async (
  deps: HttpsServerDependencies,
  { routes, files }: Required<Pick<HttpsServerOptions, 'routes' | 'files'>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const [path = ''] = (request.url ?? '').split('?', 1);
  const file = files.find((one) => one.path === path);
  if (file !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
    return sendFile(file, request, response);
  }
  for (const route of routes) {
    const match = route.path.exec(path);
    if (match === null) continue;
    if (request.method !== route.method && !(request.method === 'HEAD' && route.method === 'GET')) {
      continue;
    }
    const gateway = await authenticate(deps, request, route);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    await route.serve({ request, gateway, groups: match.slice(1), signal: gone.signal }, response);
    return;
  }
  throw new HoldfastError('RESOURCE_NOT_FOUND', 'There is nothing at this path');
};

const sendFile = async (
  { contentType, read }: PublicFile,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const content = await read();
  if (content === undefined) throw new HoldfastError('RESOURCE_NOT_FOUND', 'It is not there yet');
  response.writeHead(200, { 'content-type': contentType, 'content-length': content.length });
  response.end(request.method === 'HEAD' ? undefined : content);
};

/** Errors: PEER_REFUSED, NOT_AUTHORISED, GATEWAY_FENCED. */
const authenticate = async (
  deps: HttpsServerDependencies,
  { socket }: IncomingMessage,
  { expiredForMs = 0 }: Pick<HttpsRoute, 'expiredForMs'>,
): Promise<GatewayIdentity> => {
  if (!(socket instanceof TLSSocket)) throw new HoldfastError('INTERNAL', 'a socket without TLS');
  const identity = verifyPeer(socket, {
    root: deps.root,
    role: 'gateway',
    at: deps.now(),
    expiredForMs,
    ...(deps.isRevoked && { isRevoked: deps.isRevoked }),
  });
  const gateway = await recognise(deps, identity);
  const fenced = await fencedReason(deps, gateway);
  if (fenced !== undefined) throw fenced;
  return gateway;
};

const refuse = (
  { log }: HttpsServerDependencies,
  response: ServerResponse,
  error: unknown,
): void => {
  const known = isHoldfastError(error) ? error : undefined;
  if (known === undefined) log.error({ err: error }, 'a request failed through a mistake of ours');
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const code = known?.code ?? 'INTERNAL';
  const body = JSON.stringify({
    code,
    message: known?.message ?? 'Holdfast made a mistake; its log says which',
  });
  response.writeHead(errorCodes[code].http, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
};
