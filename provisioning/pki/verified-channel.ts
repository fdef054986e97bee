/**
 * Credentials of a gRPC channel whose server our verifier decides on, right after the handshake and before anything is written to it.
 * grpc-js leaves that to OpenSSL, which goes by the machine's clock, and whose refusal hides who the other side is.
 */
import { isIP, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from './certificate.js';
import type { ServerTrust } from './first-contact.js';
import { verifyPeer } from './tls-peer.js';

export interface VerifiedChannelOptions {
  readonly trust: ServerTrust & { readonly root: Certificate };
  /** The server's name or address, without its port. */
  readonly host: string;
  /** Our own certificate chain and key in PEM. */
  readonly client?: { readonly cert: string; readonly key: string };
  /** Told of a server that is refused, with the PEER_REFUSED that says why. */
  readonly onRefused?: (error: unknown) => void;
}

/** grpc-js does not end a handshake that stalls when its channel is closed. */
const handshakeTimeoutMs = 20_000;

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

export class VerifiedChannel extends ChannelCredentials {
  readonly #options: VerifiedChannelOptions;

  constructor(options: VerifiedChannelOptions) {
    super();
    this.#options = options;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials = CallCredentials.createEmpty(),
  ): Connector {
    return {
      connect: async (socket) => ({ socket: await handshake(socket, this.#options), secure: true }),
      waitForReady: async () => undefined,
      getCallCredentials: () => callCredentials,
      destroy: () => undefined,
    };
  }
}

const handshake = (
  socket: Socket,
  { trust, host, client, onRefused }: VerifiedChannelOptions,
): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const tls = connect({
      socket,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['h2'],
      // An address is no server name (RFC 6066).
      ...(isIP(host) === 0 && { servername: host }),
      ...client,
    });
    const onClose = () => reject(new HoldfastError('CONNECTION_FAILED', 'it hung up'));
    const timer = setTimeout(() => tls.destroy(), handshakeTimeoutMs);
    tls.once('close', () => clearTimeout(timer));
    tls.once('close', onClose);
    tls.once('error', reject);
    tls.once('secureConnect', () => {
      clearTimeout(timer);
      tls.removeListener('close', onClose);
      tls.removeListener('error', reject);
      // Until HTTP/2 listens, and when nobody ever will: an error that nobody hears ends the program.
      tls.on('error', () => undefined);
      try {
        verifyPeer(tls, { ...trust, host });
        resolve(tls);
      } catch (error) {
        tls.destroy();
        onRefused?.(error);
        reject(error);
      }
    });
  });
