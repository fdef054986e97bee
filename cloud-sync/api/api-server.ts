/** Serves the API: gRPC over TLS on one port, with health and reflection. */
import { fileURLToPath } from 'node:url';
import { Server } from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { HealthImplementation } from 'grpc-health-check';
import {
  bindServer,
  closeServer,
  type ServerCertificate,
  serverCredentials,
} from './grpc-server.js';
import { type ApiService, implementationOf, type ServingDependencies } from './service.js';

export interface ApiServerOptions {
  readonly host: string;
  readonly port: number;
  readonly certificate: ServerCertificate;
  readonly services: readonly ApiService[];
}

export interface ApiServer {
  readonly port: number;
  /** Lets calls under way finish, for a while. Idempotent. */
  close(): Promise<void>;
}

/** The largest request: a chunk of firmware is 1 MiB. */
const mostRequestBytes = 2 * 1024 * 1024;

export const openApiServer = async (
  deps: ServingDependencies,
  { host, port, certificate, services }: ApiServerOptions,
): Promise<ApiServer> => {
  const server = new Server({
    'grpc.max_receive_message_length': mostRequestBytes,
    'grpc.max_metadata_size': 16 * 1024,
    // Connections that went away without a word are noticed.
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
  });
  for (const service of services) {
    server.addService(service.definition, implementationOf(service, deps));
  }
  const health = new HealthImplementation({ '': 'SERVING' });
  health.addToServer(server);
  new ReflectionService(await loadProtos()).addToServer(server);
  const credentials = serverCredentials(certificate);
  const bound = await bindServer(server, { host, port, credentials });
  return {
    port: bound,
    close: () => {
      health.setStatus('', 'NOT_SERVING');
      return closeServer(server);
    },
  };
};

/** The .proto files that the generated code was made from, for clients that ask what there is. */
const loadProtos = async () => {
  // A module of that package lies two folders below its top, compiled.
  const root = fileURLToPath(
    new URL('../../', import.meta.resolve('@holdfast/protos/errors/codes')),
  );
  const names = ['sites', 'devices', 'shadows', 'firmware', 'campaigns', 'commands'];
  try {
    return await load(
      names.map((name) => `holdfast/v1/${name}.proto`),
      { includeDirs: [root], keepCase: true },
    );
  } catch (cause) {
    throw new HoldfastError('INTERNAL', `the .proto files below ${root} cannot be read`, {
      cause,
    });
  }
};
