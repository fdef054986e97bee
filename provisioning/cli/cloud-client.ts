/** The control plane's admin API as the commands call it: promises, deadlines, and errors a person can act on. */
import { X509Certificate } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import { AuditClient } from '@holdfast/protos/gen/holdfast/v1/audit';
import { CampaignsClient } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { CommandsClient } from '@holdfast/protos/gen/holdfast/v1/commands';
import { DevicesClient } from '@holdfast/protos/gen/holdfast/v1/devices';
import { EnrollmentClient } from '@holdfast/protos/gen/holdfast/v1/enrollment';
import { FirmwareClient } from '@holdfast/protos/gen/holdfast/v1/firmware';
import { GroupsClient } from '@holdfast/protos/gen/holdfast/v1/groups';
import { ShadowsClient } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { SitesClient } from '@holdfast/protos/gen/holdfast/v1/sites';
import { UsersClient } from '@holdfast/protos/gen/holdfast/v1/users';
import type { Profile } from './profile.js';

/** How long a call that is not a stream may take. */
const callTimeoutMs = 30_000;

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: grpc.Metadata,
  options: Partial<grpc.CallOptions>,
  callback: (error: grpc.ServiceError | null, response: Response) => void,
) => grpc.ClientUnaryCall;

export interface CloudClient {
  readonly audit: AuditClient;
  readonly campaigns: CampaignsClient;
  readonly commands: CommandsClient;
  readonly devices: DevicesClient;
  readonly enrollment: EnrollmentClient;
  readonly firmware: FirmwareClient;
  readonly groups: GroupsClient;
  readonly shadows: ShadowsClient;
  readonly sites: SitesClient;
  /** Of the fleet's root, hexadecimal: what a device is told to trust. */
  readonly rootSha256: string;
  readonly users: UsersClient;
  /** What authenticates a call, for the streaming ones that are made directly. */
  readonly metadata: grpc.Metadata;
  /** Calls a unary method of one of the clients. */
  call<Request, Response>(
    client: grpc.Client,
    method: UnaryMethod<Request, Response>,
    request: Request,
  ): Promise<Response>;
  close(): void;
}

export const openCloudClient = (profile: Profile): CloudClient => {
  const credentials = grpc.credentials.createSsl(Buffer.from(profile.root_pem));
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${profile.token}`);
  const options = { 'grpc.max_receive_message_length': 16 * 1024 * 1024 };
  const clients = {
    audit: new AuditClient(profile.address, credentials, options),
    campaigns: new CampaignsClient(profile.address, credentials, options),
    commands: new CommandsClient(profile.address, credentials, options),
    devices: new DevicesClient(profile.address, credentials, options),
    enrollment: new EnrollmentClient(profile.address, credentials, options),
    firmware: new FirmwareClient(profile.address, credentials, options),
    groups: new GroupsClient(profile.address, credentials, options),
    shadows: new ShadowsClient(profile.address, credentials, options),
    sites: new SitesClient(profile.address, credentials, options),
    users: new UsersClient(profile.address, credentials, options),
  };
  return {
    ...clients,
    metadata,
    rootSha256: new X509Certificate(profile.root_pem).fingerprint256
      .replaceAll(':', '')
      .toLowerCase(),
    call: (client, method, request) =>
      new Promise((resolve, reject) => {
        const deadline = new Date(Date.now() + callTimeoutMs);
        method.call(client, request, metadata, { deadline }, (error, response) => {
          if (error === null) resolve(response);
          else reject(fromServiceError(error, profile.address));
        });
      }),
    close() {
      for (const client of Object.values(clients)) client.close();
    },
  };
};
