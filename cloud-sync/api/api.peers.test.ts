/**
 * A client that we did not write: Python's gRPC (Debian's python3-grpcio and python3-protobuf), with messages made from the same .proto
 * files. Debian's python3-grpc-tools is too old for `optional`, so buf compiles them.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const run = promisify(execFile);
/** Debian's own, which its packages are for. */
const python = '/usr/bin/python3';
const buf = fileURLToPath(new URL('../../../node_modules/.bin/buf', import.meta.url));
const protos = fileURLToPath(new URL('../../../protos/', import.meta.url));

const program = `
import sys, grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
address, token, root, image = sys.argv[1], sys.argv[2], open(sys.argv[3], 'rb').read(), open(sys.argv[4], 'rb').read()
pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString(image).file:
    pool.Add(file)
def message(name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName('holdfast.v1.' + name))
metadata = [('authorization', 'Bearer ' + token)]
with grpc.secure_channel(address, grpc.ssl_channel_credentials(root)) as channel:
    def method(path, request, response):
        return channel.unary_unary('/holdfast.v1.' + path, message(request).SerializeToString, message(response).FromString)
    create = method('Sites/CreateSite', 'CreateSiteRequest', 'Site')
    request = message('CreateSiteRequest')(site_id='py')
    request.site.display_name = 'Python'
    print(create(request, metadata=metadata, timeout=10).display_name)
    get = method('Devices/GetDevice', 'GetDeviceRequest', 'Device')
    name = message('GetDeviceRequest')(name='sites/a/devices/d1')
    print(get(name, metadata=metadata, timeout=10).firmware_version)
    try:
        get(name, timeout=10)
    except grpc.RpcError as error:
        print(error.code().name, dict(error.trailing_metadata())['holdfast-code'])
`;

t.test("Python's gRPC client creates a site and reads a device", async (t) => {
  const cloud = await cloudUnderTest(t);
  const link = dial(await enrolStandIn(cloud, 'a'));
  t.teardown(() => link.close());
  link.hello();
  await link.next('welcome');
  const body = {
    device: 'd1',
    online: true,
    last_seen: 1,
    firmware_version: '2.5',
    model: 'm',
    door: 'native',
  };
  const batch = await new StandInLog('state').batch([{ kind: 'device', body }]);
  link.say({ $case: 'journal', value: batch });
  await link.next('journalCommitted');

  const folder = await mkdtemp(join(tmpdir(), 'holdfast-python-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const path = (name: string) => join(folder, name);
  const [script, root, image] = [path('client.py'), path('root.pem'), path('image.binpb')];
  await run(buf, ['build', '--as-file-descriptor-set', '-o', image], { cwd: protos });
  await writeFile(script, program);
  await writeFile(root, cloud.rootPem);
  const { token } = parseLoginCode(cloud.loginCode);
  const { stdout } = await run(python, [script, cloud.address, token, root, image], {
    timeout: 30_000,
  });
  t.same(stdout.trim().split('\n'), ['Python', '2.5', 'UNAUTHENTICATED NOT_AUTHENTICATED']);
});
