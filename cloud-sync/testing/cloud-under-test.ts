/** A whole control plane in the process of a test, on free ports and a folder of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CallOptions,
  type Client,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
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
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { parseAddress } from '@holdfast/provisioning/pki/claim-code';
import { fetchRoot } from '@holdfast/provisioning/pki/first-contact';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import { createLogger } from '@holdfast/provisioning/program/logger';
import * as v from 'valibot';
import { type CloudPorts, openCloud } from '../cloud.js';
import { cloudConfiguration } from '../configuration.js';

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** The API as a test calls it. */
export interface ApiUnderTest {
  readonly address: string;
  readonly rootPem: string;
  readonly audit: AuditClient;
  readonly campaigns: CampaignsClient;
  readonly commands: CommandsClient;
  readonly devices: DevicesClient;
  readonly enrollment: EnrollmentClient;
  readonly firmware: FirmwareClient;
  readonly groups: GroupsClient;
  readonly shadows: ShadowsClient;
  readonly sites: SitesClient;
  readonly users: UsersClient;
  /** What is uploaded is signed with. */
  readonly releases: TestReleases;
  /** The admin's token, for the methods with streams. */
  readonly metadata: Metadata;
  /** With the admin's token unless another is given; '' sends none. Rejects with a HoldfastError. */
  call<Request, Response>(
    client: Client,
    method: UnaryMethod<Request, Response>,
    request: Request,
    options?: { readonly token?: string },
  ): Promise<Response>;
  close(): void;
}

export interface CloudUnderTest extends ApiUnderTest {
  readonly ports: CloudPorts;
  readonly dataDir: string;
  readonly loginCode: string;
}

export interface CloudTestOptions {
  readonly now?: () => number;
  readonly link?: Readonly<Record<string, number>>;
  readonly shadows?: Readonly<Record<string, number>>;
  /** Makes deltas of what is uploaded only when it is told to: each takes a process. */
  readonly firmware?: Readonly<Record<string, number>>;
}

/** As much of tap's `t` as is needed. */
export interface Test {
  teardown(end: () => unknown): unknown;
}

/** Opens a control plane, closed at the end of the test. */
export const cloudUnderTest = async (
  t: Test,
  {
    now = () => Date.now(),
    link = {},
    shadows = {},
    firmware = { deltaSources: 0 },
  }: CloudTestOptions = {},
): Promise<CloudUnderTest> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-cloud-'));
  const closers: (() => Promise<void> | void)[] = [];
  let loginCode = '';
  const log = createLogger({
    program: 'holdfast-cloud',
    level: process.env.HOLDFAST_TEST_LOG ?? 'silent',
    to: process.stderr,
  });
  const ports = await openCloud(
    {
      log,
      now,
      showLogin: async (code) => {
        loginCode = code;
      },
      onClose: (_name, close) => closers.unshift(close),
    },
    {
      dataDir,
      configuration: v.parse(cloudConfiguration, {
        shadows,
        firmware,
        fleet: { name: 'test' },
        listen: { host: '127.0.0.1', grpcPort: 0, linkPort: 0, httpsPort: 0 },
        link,
      }),
    },
  );
  const api = await openApi(loginCode);
  t.teardown(async () => {
    api.close();
    for (const close of closers) await close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return { ...api, ports, dataDir, loginCode };
};

/** Logs in with a code as the command does, and calls the API. */
export const openApi = async (loginCode: string, port?: number): Promise<ApiUnderTest> => {
  const shown = parseLoginCode(loginCode);
  // A control plane that was started anew on a free port.
  const login = port === undefined ? shown : { ...shown, address: `127.0.0.1:${port}` };
  const root = await fetchRoot({
    ...parseAddress(login.address),
    trust: { role: 'control-plane', root: login.rootSha256, at: Date.now() },
  });
  const channel = credentials.createSsl(Buffer.from(root.pem));
  const { address } = login;
  const clients = {
    audit: new AuditClient(address, channel),
    campaigns: new CampaignsClient(address, channel),
    commands: new CommandsClient(address, channel),
    devices: new DevicesClient(address, channel),
    enrollment: new EnrollmentClient(address, channel),
    firmware: new FirmwareClient(address, channel),
    groups: new GroupsClient(address, channel),
    shadows: new ShadowsClient(address, channel),
    sites: new SitesClient(address, channel),
    users: new UsersClient(address, channel),
  };
  const metadataOf = (token: string): Metadata => {
    const metadata = new Metadata();
    if (token !== '') metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  };
  return {
    ...clients,
    address,
    rootPem: root.pem,
    releases: new TestReleases(),
    metadata: metadataOf(login.token),
    call: (client, method, request, { token = login.token } = {}) =>
      new Promise((resolve, reject) => {
        const deadline = new Date(Date.now() + 10_000);
        method.call(client, request, metadataOf(token), { deadline }, (error, response) => {
          if (error === null) resolve(response);
          else reject(fromServiceError(error, address));
        });
      }),
    close: () => {
      for (const client of Object.values(clients)) client.close();
    },
  };
};
