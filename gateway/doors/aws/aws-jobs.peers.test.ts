/** The jobs clients of AWS IoT's SDKs, unmodified, where there is nothing to do. */
import t from 'tap';
import { openSiteUnderTest } from '../../trust/site-under-test.js';
import { missingSdks, type SdkDeviceOptions, startSdkDevice } from './test-sdk-device.js';

const skip = missingSdks();

const version2 = [
  { title: 'IotJobsClientv2', kind: 'v2-requests', protocol: 3 },
  { title: 'IotJobsClientv2 over MQTT 5', kind: 'v2-requests', protocol: 5 },
  { title: 'IotJobsClient', kind: 'v2-topics', protocol: 3 },
  { title: 'IotJobsClient over MQTT 5', kind: 'v2-topics', protocol: 5 },
] as const;

t.test('AWS IoT’s jobs clients at a gateway without jobs', { skip }, async (t) => {
  t.setTimeout(280_000);
  const site = await openSiteUnderTest();
  t.teardown(() => site.close());
  const thing = 'pump-1';
  const { cert, key } = await site.enrol(thing);
  const shared = { thing, cert, key, ca: site.fleet.root.certificate.pem };
  const start = (
    test: typeof t,
    options: Pick<SdkDeviceOptions, 'kind'> & Partial<SdkDeviceOptions>,
  ) => startSdkDevice(test, { ...shared, port: site.port('mqtts'), ...options });

  for (const { title, kind, protocol } of version2) {
    t.test(`${title}: nothing is pending, and what is named is not found`, async (t) => {
      const device = start(t, { kind, protocol });
      await device.connect();
      await device.watchJobs();
      const asked = { timestamp: Number, clientToken: String };
      t.match(await device.jobs('getPendingJobExecutions', {}), {
        accepted: { inProgressJobs: [], queuedJobs: [], ...asked },
      });
      for (const [operation, request] of [
        ['startNextPendingJobExecution', { statusDetails: { step: 'begun' } }],
        ['describeJobExecution', { jobId: '$next', includeJobDocument: true }],
      ] as const) {
        const { accepted } = await device.jobs(operation, request);
        t.match(accepted, asked, operation);
        t.notOk(accepted?.execution, operation);
      }
      const notFound = { rejected: { code: 'ResourceNotFound', ...asked } };
      t.match(await device.jobs('describeJobExecution', { jobId: 'j1' }), notFound);
      const update = { jobId: 'j1', status: 'SUCCEEDED', expectedVersion: 1 };
      t.match(await device.jobs('updateJobExecution', update), notFound);
      t.same([...device.rest('jobs'), ...device.rest('nextJob')], [], 'nothing is notified');
    });
  }

  t.test('an answer goes to the client that asked, and to no other of its thing', async (t) => {
    const [one, other] = ['one', 'other'].map((name) =>
      start(t, { kind: 'v2-topics', clientId: `${thing}:${name}` }),
    );
    if (one === undefined || other === undefined) throw new Error('there are two');
    for (const device of [one, other]) {
      await device.connect();
      await device.jobs('getPendingJobExecutions', {});
    }
    await one.jobs('getPendingJobExecutions', {});
    await other.jobs('getPendingJobExecutions', {});
    t.same([...one.rest('foreign'), ...other.rest('foreign')], []);
  });

  t.test('jobs of version 1 is told of no job', async (t) => {
    const device = start(t, { kind: 'v1', clientId: `${thing}:v1` });
    t.same(await device.nextJob(), []);
  });
});
