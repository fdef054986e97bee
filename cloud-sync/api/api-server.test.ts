import {
  Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';

t.test('lets nobody in without a token, and says what to do', async (t) => {
  const cloud = await cloudUnderTest(t);
  const request = { name: 'sites/a' };
  const { sites } = cloud;
  await t.rejects(cloud.call(sites, sites.getSite, request, { token: '' }), {
    code: 'NOT_AUTHENTICATED',
    message: /holdfast/,
  });
  await t.rejects(cloud.call(sites, sites.getSite, request, { token: 'hft_wrong' }), {
    code: 'NOT_AUTHENTICATED',
  });
  await t.rejects(cloud.call(sites, sites.getSite, request), { code: 'RESOURCE_NOT_FOUND' });
});

t.test('names the error code in the trailing metadata', async (t) => {
  const cloud = await cloudUnderTest(t);
  const error = await cloud
    .call(cloud.sites, cloud.sites.getSite, { name: 'nonsense' })
    .catch((thrown: unknown) => thrown);
  t.match(error, { code: 'REQUEST_INVALID', message: /sites\/\{site\}/ });
});

t.test('refuses a request that is too large', async (t) => {
  const cloud = await cloudUnderTest(t);
  await t.rejects(
    cloud.call(cloud.sites, cloud.sites.createSite, {
      siteId: 'x'.repeat(3 * 1024 * 1024),
      site: undefined,
    }),
    /larger than max/,
  );
});

t.test('answers health checks and says which services there are', async (t) => {
  const cloud = await cloudUnderTest(t);
  const channel = credentials.createSsl(Buffer.from(cloud.rootPem));
  const { grpc } = loadPackageDefinition(await load(protoPath)) as unknown as {
    grpc: { health: { v1: { Health: ServiceClientConstructor } } };
  };
  const health = new grpc.health.v1.Health(cloud.address, channel);
  t.teardown(() => health.close());
  const answer = await new Promise((resolve, reject) => {
    health.check?.({ service: '' }, (error: unknown, response: unknown) =>
      error === null ? resolve(response) : reject(error),
    );
  });
  t.match(answer, { status: 1 });

  const client = new Client(cloud.address, channel);
  t.teardown(() => client.close());
  const listed = await new Promise<Buffer>((resolve, reject) => {
    const call = client.makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      new Metadata(),
    );
    call.on('data', resolve);
    call.on('error', reject);
    // ServerReflectionRequest { list_services (7): "" }
    call.write(Buffer.from([(7 << 3) | 2, 0]));
    call.end();
  });
  t.match(listed.toString('latin1'), /holdfast\.v1\.Sites/);
});
