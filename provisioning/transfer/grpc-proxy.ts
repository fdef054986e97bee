/** How a gRPC client goes through a proxy of our configuration: what grpc-js itself adds for the one of an environment variable. */
import { isIP } from 'node:net';
import type { ChannelOptions } from '@grpc/grpc-js';
import { formatAddress, parseAddress } from '../pki/claim-code.js';
import type { ConnectProxy } from './connect-proxy.js';

export interface GrpcTarget {
  /** Where the client connects to. */
  readonly target: string;
  readonly options: ChannelOptions;
}

/** For a server at `host:port`; who it is, is still checked by its own name. */
export const grpcTarget = (address: string, via: ConnectProxy | undefined): GrpcTarget => {
  // Only what is configured counts, and no variable of the environment.
  const own = { 'grpc.enable_http_proxy': 0 };
  if (via === undefined) return { target: address, options: own };
  const { host } = parseAddress(address);
  return {
    target: formatAddress(via),
    options: {
      ...own,
      'grpc.http_connect_target': `dns:${address}`,
      ...(via.credentials !== undefined && { 'grpc.http_connect_creds': via.credentials }),
      'grpc.default_authority': address,
      ...(isIP(host) === 0 && { 'grpc.ssl_target_name_override': host }),
    },
  };
};
