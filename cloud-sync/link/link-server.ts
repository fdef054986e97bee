/** Serves the link: gRPC over mutual TLS on a port of its own, one stream a gateway. */
import { Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  LinkService,
  type RenewCertificatesRequest,
  type RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { maxBatchBytes } from '@holdfast/protos/link/journal-batch';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import { type CertificateIdentity, verifyChain } from '@holdfast/provisioning/pki/verify';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import {
  bindServer,
  closeServer,
  type ServerCertificate,
  serverCredentials,
} from '../api/grpc-server.js';
import { statusOf } from '../api/status.js';
import { renewGatewayCertificates } from '../certificates/renew-gateway.js';
import { Connection, type ConnectionDependencies, type ConnectionOptions } from './connection.js';
import { fencedReason, parseHello, recognise } from './meeting.js';
import { type Heard, type LinkCall, LinkStream } from './stream.js';

export interface LinkServerDependencies extends ConnectionDependencies {
  /** The fleet's root: a gateway's certificate is issued by it directly. */
  readonly root: Certificate;
  /** Signs what gateways renew. */
  readonly issuer: Authority;
  /** Whether the root has taken a certificate back. */
  readonly isRevoked?: (issuerKeyId: string, serial: string) => boolean;
}

export interface LinkServerOptions extends Partial<ConnectionOptions> {
  readonly host: string;
  readonly port: number;
  readonly certificate: ServerCertificate;
  /** How long a gateway may take until it says hello. */
  readonly helloTimeoutMs?: number;
}

export interface LinkServer {
  readonly port: number;
  /** Ends every connection; gateways come again by themselves. Idempotent. */
  close(): Promise<void>;
}

/** What DEFLATE may add to entries that do not compress, and the message around them. */
const mostMessageBytes = maxBatchBytes + 128 * 1024;

export const openLinkServer = async (
  deps: LinkServerDependencies,
  options: LinkServerOptions,
): Promise<LinkServer> => {
  const { host, port, certificate } = options;
  const streams = new Map<LinkStream, Promise<void>>();
  const server = new Server({
    'grpc.max_receive_message_length': mostMessageBytes,
    // One for the link; a second one while a newer connection takes over.
    'grpc.max_concurrent_streams': 4,
  });
  server.addService(LinkService, {
    connect: (call: LinkCall) => {
      const stream = new LinkStream(call);
      const served = serve(deps, options, call, stream).finally(() => streams.delete(stream));
      streams.set(stream, served);
    },
    renewCertificates: (
      call: ServerUnaryCall<RenewCertificatesRequest, RenewCertificatesResponse>,
      callback: sendUnaryData<RenewCertificatesResponse>,
    ) => {
      renew(deps, call).then(
        (renewed) => callback(null, renewed),
        (error: unknown) => {
          deps.log.warn({ err: error, peer: call.getPeer() }, 'a gateway got no new certificates');
          callback(statusOf(error, () => undefined));
        },
      );
    },
  });
  const credentials = serverCredentials(certificate, deps.root.pem);
  const bound = await bindServer(server, { host, port, credentials });
  const close = async (): Promise<void> => {
    for (const stream of streams.keys()) {
      stream.fail(new HoldfastError('CONNECTION_FAILED', 'the control plane is stopping'));
    }
    await Promise.allSettled([...streams.values()]);
    await closeServer(server);
  };
  let closing: Promise<void> | undefined;
  return {
    port: bound,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
};

/** Never rejects. */
const serve = async (
  deps: LinkServerDependencies,
  {
    windowBytes = 8 * 1024 * 1024,
    keepaliveMs = 20_000,
    helloTimeoutMs = 10_000,
  }: LinkServerOptions,
  call: LinkCall,
  stream: LinkStream,
): Promise<void> => {
  try {
    const hello = firstMessage(stream);
    const gateway = await recognise(deps, identify(deps, call));
    const message = await withDeadline(hello, helloTimeoutMs, {
      signal: stream.ended,
      doing: 'waiting for the hello of a gateway',
    });
    if (message.$case !== 'hello') {
      throw new HoldfastError('REQUEST_INVALID', 'a connection begins with a hello');
    }
    const connection = new Connection(
      deps,
      { windowBytes, keepaliveMs },
      { stream, gateway, hello: parseHello(message.value) },
    );
    stream.listen((heard) => connection.hear(heard));
    stream.go();
    await connection.run();
  } catch (error) {
    if (stream.ended.aborted) return;
    deps.log.warn({ err: error, peer: call.getPeer() }, 'a connection to the link was refused');
    if (isHoldfastError(error) && !error.isRetryable && error.code !== 'INTERNAL') {
      const { code, message } = error;
      stream.say({ $case: 'refused', value: { code, message } });
      stream.end();
    } else {
      stream.fail(
        isHoldfastError(error) ? error : new HoldfastError('INTERNAL', 'Holdfast made a mistake'),
      );
    }
  }
};

/** Errors: PEER_REFUSED, NOT_AUTHORISED, GATEWAY_FENCED, CERTIFICATE_REQUEST_INVALID. */
const renew = async (
  deps: LinkServerDependencies,
  call: ServerUnaryCall<RenewCertificatesRequest, RenewCertificatesResponse>,
): Promise<RenewCertificatesResponse> => {
  const gateway = await recognise(deps, identify(deps, call));
  const fenced = await fencedReason(deps, gateway);
  if (fenced !== undefined) throw fenced;
  return renewGatewayCertificates(deps, gateway, call.request);
};

/** The first message; those after it wait in the stream until somebody listens. */
const firstMessage = (stream: LinkStream): Promise<Heard> =>
  new Promise((resolve) => {
    stream.listenOnce((message) => {
      stream.hold();
      resolve(message);
    });
  });

/** TLS has proved that the peer holds the key of this certificate. Errors: PEER_REFUSED. */
const identify = (
  { root, isRevoked, now }: LinkServerDependencies,
  call: Pick<LinkCall, 'getAuthContext'>,
): CertificateIdentity => {
  const certificate = call.getAuthContext().sslPeerCertificate?.raw;
  if (certificate === undefined) {
    throw new HoldfastError('PEER_REFUSED', 'The link wants the certificate of a gateway');
  }
  const verdict = verifyChain({
    certificate: new Uint8Array(certificate),
    root,
    role: 'gateway',
    at: now(),
    ...(isRevoked && { isRevoked }),
  });
  if (verdict.refused === undefined) return verdict.identity;
  throw new HoldfastError('PEER_REFUSED', `The certificate is refused: ${verdict.message}`);
};
