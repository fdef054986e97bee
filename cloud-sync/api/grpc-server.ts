/** Binding and closing of gRPC servers, which grpc-js does with callbacks. */
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';

/** Chain and key in PEM. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
}

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
