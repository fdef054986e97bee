/** One stream to the control plane over gRPC and mutual TLS, as the link uses it. */
import { isIP } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  type CloudMessage,
  type GatewayMessage,
  LinkClient,
} from '@holdfast/protos/gen/holdfast/v1/link';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { serverIdentityCheck } from '@holdfast/provisioning/pki/first-contact';
import { presentedChain, verifyPresented } from '@holdfast/provisioning/pki/tls-peer';
import type { Clock } from '@holdfast/provisioning/time/clock';

export interface LinkCall {
  /** Never blocks: the link's windows bound what is handed in. */
  send(message: GatewayMessage['message']): void;
  /** Ends the stream and its connection; `onBroken` is not told. Idempotent. */
  close(): void;
}

export interface CallHandlers {
  onMessage(message: NonNullable<CloudMessage['message']>): void;
  /** Once, when the stream is over for whatever reason. */
  onBroken(reason: string): void;
}

export type Dial = (handlers: CallHandlers) => LinkCall;

export interface DialOptions {
  /** Of the control plane's link, as `cloud.example:7443`. */
  readonly address: string;
  /** The fleet's root, and in PEM. */
  readonly root: Certificate;
  readonly rootPem: string;
  /** Our certificate chain and key in PEM; asked for at each connection, since they are renewed. */
  readonly client: () => { readonly cert: string; readonly key: string };
  readonly clock: Clock;
}

/** A plan head, an order batch or some documents; what is longer is not ours. */
const maxMessageBytes = 16 * 1024 * 1024;

export const grpcDial =
  (options: DialOptions): Dial =>
  (handlers) => {
    const { clock, root, address } = options;
    const { cert, key } = options.client();
    const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const trust = {
      root,
      host,
      role: 'control-plane',
      at: clock.trusted ? clock.now() : 'unchecked',
    } as const;
    const check = (peer: PeerCertificate): Error | undefined =>
      serverIdentityCheck(trust)(host, peer);
    // While the clock is not trusted OpenSSL's look at dates is not either: then our verifier alone decides, below.
    const tls = credentials.createSsl(
      Buffer.from(options.rootPem),
      Buffer.from(key),
      Buffer.from(cert),
      { rejectUnauthorized: clock.trusted, checkServerIdentity: (_, peer) => check(peer) },
    );
    const client = new LinkClient(address, tls, {
      // A connection of our own: a half-open one must not be taken up by the next attempt.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      // An address is no server name (RFC 6066), and Node says so on stderr at each attempt. Who the server is, is checked by `host`.
      ...(isIP(host) !== 0 && { 'grpc.ssl_target_name_override': 'control-plane' }),
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_send_message_length': maxMessageBytes,
    });
    const stream = client.connect();
    let isOver = false;
    let isVerified = false;
    const close = (): void => {
      if (isOver) return;
      isOver = true;
      stream.cancel();
      client.close();
    };
    const fail = (reason: string): void => {
      if (isOver) return;
      close();
      handlers.onBroken(reason);
    };
    stream.on('data', ({ message }: CloudMessage) => {
      if (isOver) return;
      try {
        if (!isVerified) {
          const peer = stream.getAuthContext()?.sslPeerCertificate;
          verifyPresented(peer ? presentedChain(peer) : [], trust);
          isVerified = true;
        }
      } catch (error) {
        return fail(messageOf(error));
      }
      if (message) handlers.onMessage(message);
    });
    stream.on('error', (error) => fail(messageOf(error)));
    stream.on('end', () => fail('the control plane ended the stream'));
    return {
      send: (message) => {
        if (!isOver) stream.write({ message });
      },
      close,
    };
  };
