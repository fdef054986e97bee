/** Binding and closing of gRPC servers, which grpc-js does with callbacks. */
import { experimental, type Server, type ServerCredentials } from '@grpc/grpc-js';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';

/** Chain and key in PEM, those of now: they are renewed while the server runs. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
  /** Told of each renewal; returns how to stop it. */
  onRenewed(listener: () => void): () => void;
}

/** Credentials that follow the certificate: connections from then on see the new one. With a root, clients must show a certificate of it. */
export const serverCredentials = (
  certificate: ServerCertificate,
  clientRootPem?: string,
): ServerCredentials => {
  const listeners = new Map<IdentityListener, () => void>();
  const provider = {
    addCaCertificateListener: (listener: CaListener) =>
      queueMicrotask(() =>
        listener(
          clientRootPem === undefined ? null : { caCertificate: Buffer.from(clientRootPem) },
        ),
      ),
    removeCaCertificateListener: () => undefined,
    addIdentityCertificateListener: (listener: IdentityListener) => {
      const tell = () =>
        listener({
          certificate: Buffer.from(certificate.cert),
          privateKey: Buffer.from(certificate.key),
        });
      listeners.set(listener, certificate.onRenewed(tell));
      // The library passes on what it hears after this call has returned.
      queueMicrotask(tell);
    },
    removeIdentityCertificateListener: (listener: IdentityListener) => {
      listeners.get(listener)?.();
      listeners.delete(listener);
    },
  };
  // The library takes the one of the server's certificate first, whatever it calls it.
  return experimental.createCertificateProviderServerCredentials(
    provider,
    clientRootPem === undefined ? null : provider,
    clientRootPem !== undefined,
  );
};

type Provider = Parameters<typeof experimental.createCertificateProviderServerCredentials>[0];
type CaListener = Parameters<Provider['addCaCertificateListener']>[0];
type IdentityListener = Parameters<Provider['addIdentityCertificateListener']>[0];

export interface BindOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: ServerCredentials;
}

/** Returns the port, which is a free one for 0. Errors: CONFIGURATION_INVALID when it cannot be bound. */
export const bindServer = (
  server: Server,
  { host, port, credentials }: BindOptions,
): Promise<number> =>
  new Promise((resolve, reject) => {
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else {
        const text = `${address} cannot be listened on: ${messageOf(error)}`;
        reject(new HoldfastError('CONFIGURATION_INVALID', text, { cause: error }));
      }
    });
  });

const closeLimitMs = 2_000;

/** Takes no new calls, gives those under way a moment, then cuts them. Idempotent. */
export const closeServer = async (server: Server): Promise<void> => {
  const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  await withDeadline(drained, closeLimitMs).catch(() => server.forceShutdown());
};
