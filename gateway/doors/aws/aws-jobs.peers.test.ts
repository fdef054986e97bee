/** The jobs clients of AWS IoT's SDKs, unmodified, at a gateway process: where there is nothing to do, and running whole jobs. */
import { randomBytes } from 'node:crypto';
import { request } from 'node:https';
import { WanProxy } from '@holdfast/provisioning/quickstart/wan-proxy';
import t, { type Test } from 'tap';
import { openPlannedSite, plannedCampaign } from '../../trust/planned-site-under-test.js';
import {
  missingSdks,
  type SdkDevice,
  type SdkDeviceOptions,
  startSdkDevice,
} from './test-sdk-device.js';

const skip = missingSdks();

const version2 = [
  { title: 'IotJobsClientv2', kind: 'v2-requests', protocol: 3 },
  { title: 'IotJobsClientv2 over MQTT 5', kind: 'v2-requests', protocol: 5 },
  { title: 'IotJobsClient', kind: 'v2-topics', protocol: 3 },
  { title: 'IotJobsClient over MQTT 5', kind: 'v2-topics', protocol: 5 },
] as const;

t.test('AWS IoT’s jobs clients', { skip }, async (t) => {
  t.setTimeout(280_000);
  const image = randomBytes(300_000);
  const planned = await openPlannedSite(t, image);
  const { site } = planned;
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

  t.test('jobs and updates are run, over cancels and a restart of the gateway', async (t) => {
    t.setTimeout(200_000);
    const network = await WanProxy.open({
      ...{ port: 0, target: () => ({ host: '127.0.0.1', port: site.port('mqtts') }) },
    });
    t.teardown(() => network.close());
    const open = async (options: Pick<SdkDeviceOptions, 'kind'> & Partial<SdkDeviceOptions>) => {
      const name = `run-${options.kind}-${options.protocol ?? 3}`;
      const credentials = await site.enrol(name);
      const { cert, key } = credentials;
      const clientId = options.kind === 'v1' ? `${name}:v1` : name;
      const own = { thing: name, clientId, cert, key };
      const device = start(t, { ...own, port: network.port, clean: false, ...options });
      await device.connect();
      return { ...device, name };
    };
    const runners = await Promise.all([
      ...version2.map(async (options) =>
        version2Runner(t, await open(options), options.kind === 'v2-topics'),
      ),
      open({ kind: 'v1' }).then((device) => version1Runner(t, device)),
    ]);
    const names = runners.map(({ name }) => name);
    const toDo = (order: number) =>
      plannedCampaign({ document: { operation: `do-${order}` } }, names, { started_at: order });
    const together = async (work: (runner: Runner) => Promise<unknown>): Promise<void> => {
      await Promise.all(runners.map(work));
    };
    const executed = (campaign: string, status: string) =>
      together((runner) => planned.executed(campaign, runner.name, status));

    await planned.plan({ one: toDo(1) });
    await together((runner) => runner.run('one', { operation: 'do-1' }));
    await executed('one', 'succeeded');

    await planned.plan({ two: toDo(2), three: toDo(3) });
    await together((runner) => runner.begin('two'));
    await planned.plan({ two: { ...toDo(2), state: 'cancelling' }, three: toDo(3) });
    await executed('two', 'cancelling');
    await together((runner) => runner.isCancelled('two'));
    await together((runner) => runner.run('three', { operation: 'do-3' }));
    await executed('two', 'cancelled');
    await executed('three', 'succeeded');

    await planned.plan({ update: plannedCampaign({ firmware: ['pi@2'] }, names) });
    await together(async (runner) => {
      const { url, sha256, size_bytes } = (await runner.begin('update')) as Record<string, string>;
      t.match({ sha256, size_bytes }, { sha256: /^[0-9a-f]{64}$/, size_bytes: image.length });
      t.ok((await download(`${url}`, shared.ca)).equals(image), 'without a certificate');
    });
    await site.restart('stop');
    await together((runner) => runner.isBack());
    await together((runner) => runner.succeed('update', { version: '2' }));
    await executed('update', 'succeeded');
    for (const runner of runners) t.same(runner.unexpected(), [], `${runner.name} is told once`);
  });
});

/** A device that runs jobs as its SDK has it. */
interface Runner {
  readonly name: string;
  /** Waits until this is the job to do and says that it is begun; its document. */
  begin(job: string): Promise<unknown>;
  succeed(job: string, details?: Record<string, string>): Promise<void>;
  /** The same with a document of this kind, from the beginning to the end. */
  run(job: string, document: object): Promise<void>;
  isCancelled(job: string): Promise<void>;
  isBack(): Promise<void>;
  /** What was told and not waited for. */
  unexpected(): unknown[];
}

type NamedDevice = SdkDevice & { readonly name: string };

/** What it runs it tells by the job, or by its shadow. */
const version2Runner = async (
  t: Test,
  device: NamedDevice,
  reportsByShadow: boolean,
): Promise<Runner> => {
  const { name } = device;
  await device.watchJobs();
  await device.jobs('getPendingJobExecutions', {});
  const update = (jobId: string, status: string, more: object = {}) =>
    device.jobs('updateJobExecution', { jobId, status, includeJobExecutionState: true, ...more });
  /** Until a notice of the next one names this job; an empty one is of the end of the one before. */
  const nextIs = async (job: string): Promise<void> => {
    for (;;) {
      const { message } = await device.next('nextJob');
      const execution = message?.execution as { jobId?: string } | undefined;
      if (execution?.jobId === job) return;
      t.notOk(execution?.jobId, `${name} waits for ${job}`);
    }
  };
  const begin = async (job: string): Promise<unknown> => {
    await nextIs(job);
    const { accepted } = await device.jobs('startNextPendingJobExecution', {});
    const execution = accepted?.execution as Record<string, unknown>;
    t.match(execution, { jobId: job, status: 'IN_PROGRESS', versionNumber: 2 });
    return execution.jobDocument;
  };
  const succeed = async (job: string, said: Record<string, string> = {}): Promise<void> => {
    const details = reportsByShadow ? {} : said;
    if (reportsByShadow) await device.update({ state: { reported: { firmware: said } } });
    t.match(await update(job, 'SUCCEEDED', { statusDetails: details }), {
      accepted: { executionState: { status: 'SUCCEEDED', statusDetails: details } },
    });
  };
  return {
    ...{ name, begin, succeed },
    async run(job, document) {
      t.same(await begin(job), document);
      const statusDetails = { progress: '50%' };
      t.match(await update(job, 'IN_PROGRESS', { statusDetails, expectedVersion: 2 }), {
        accepted: { executionState: { statusDetails, versionNumber: 3 } },
      });
      t.match(await update(job, 'IN_PROGRESS', { expectedVersion: 2 }), {
        rejected: { code: 'VersionMismatch', executionState: { versionNumber: 3 } },
      });
      await succeed(job);
      t.match(await update(job, 'IN_PROGRESS'), {
        rejected: { code: 'InvalidStateTransition', executionState: { status: 'SUCCEEDED' } },
      });
    },
    async isCancelled(job) {
      t.match(await update(job, 'IN_PROGRESS'), {
        rejected: { code: 'InvalidStateTransition', executionState: { status: 'CANCELED' } },
      });
    },
    isBack: async () => void (await device.next('resumed')),
    unexpected: () =>
      device
        .rest('nextJob')
        .filter(({ message }) => message?.execution !== undefined && message.execution !== null),
  };
};

const version1Runner = async (t: Test, device: NamedDevice): Promise<Runner> => {
  const { name } = device;
  await device.takeJobs();
  const begin = async (job: string): Promise<unknown> => {
    const { message } = await device.next('job');
    t.match(message, { id: job, status: 'QUEUED' }, name);
    await device.sayOfJob(job, 'inProgress', { step: 'begun' });
    return message?.document;
  };
  const succeed = (job: string, details?: Record<string, string>): Promise<void> =>
    device.sayOfJob(job, 'succeeded', details);
  return {
    ...{ name, begin, succeed },
    async run(job, document) {
      t.same(await begin(job), document);
      await succeed(job);
    },
    // It hears no answers: what it says of the job is said in vain.
    isCancelled: (job) => device.sayOfJob(job, 'inProgress'),
    isBack: async () => void (await device.next('resumed')),
    unexpected: () => device.rest('job'),
  };
};

const download = (url: string, ca: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { ca }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      resolve(Buffer.concat(chunks));
    });
    asked.once('error', reject);
    asked.end();
  });
