/** One stream to the control plane over gRPC and mutual TLS, as the link uses it. */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  type CloudMessage,
  type GatewayMessage,
  LinkClient,
} from '@holdfast/protos/gen/holdfast/v1/link';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { VerifiedChannel } from '@holdfast/provisioning/pki/verified-channel';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ConnectProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { grpcTarget } from '@holdfast/provisioning/transfer/grpc-proxy';

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
  /** The fleet's root. */
  readonly root: Certificate;
  /** By issuer's key id and serial number. */
  readonly isRevoked?: (issuerKeyId: string, serial: string) => boolean;
  /** Our certificate chain and key in PEM; asked for at each connection, since they are renewed. */
  readonly client: () => { readonly cert: string; readonly key: string };
  readonly clock: Clock;
  /** The control plane is who it should be, but not certified for what time it is here. */
  readonly onDatesRefused?: () => void;
  /** Through this proxy. */
  readonly via?: ConnectProxy | undefined;
}

/** A plan head, an order batch or some documents; what is longer is not ours. */
const maxMessageBytes = 16 * 1024 * 1024;

/** A connection of its own, verified before anything is said over it. */
export const linkClient = (options: DialOptions): LinkClient => {
  const { clock, root, isRevoked, address, via } = options;
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  const tls = new VerifiedChannel({
    trust: {
      ...{ root, role: 'control-plane' },
      ...(isRevoked && { isRevoked }),
      at: clock.trusted ? clock.now() : 'unchecked',
    },
    host,
    client: options.client(),
    onRefused: (error) => {
      if (isOfDates(error)) options.onDatesRefused?.();
    },
  });
  const { target, options: proxied } = grpcTarget(address, via);
  return new LinkClient(target, tls, {
    ...proxied,
    // A connection of our own: a half-open one must not be taken up by the next attempt.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
};

export const grpcDial =
  (options: DialOptions): Dial =>
  (handlers) => {
    const client = linkClient(options);
    const stream = client.connect();
    let isOver = false;
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
      if (!isOver && message) handlers.onMessage(message);
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

const isOfDates = (error: unknown): boolean =>
  isHoldfastError(error, 'PEER_REFUSED') &&
  (error.data.reason === 'expired' || error.data.reason === 'not-yet-valid');
