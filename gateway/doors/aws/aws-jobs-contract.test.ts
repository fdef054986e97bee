/** What AWS IoT says of requests for jobs, line by line, over the door and the executions of a site. */
import t from 'tap';
import { campaignBody } from '../../updates/updates-fixture.js';
import { document, jobBody, openWithJob } from './aws-jobs-fixture.js';

t.test('get lists what is begun and what waits', async (t) => {
  const { life, clock } = await openWithJob(t);
  const queuedAt = Math.floor(clock.now() / 1_000);
  const asked = await life.ask('pi-1', 'get', { clientToken: 'c' });
  t.match(asked, {
    outcome: 'accepted',
    body: {
      inProgressJobs: [],
      queuedJobs: [{ jobId: 'j1', versionNumber: 1, queuedAt, lastUpdatedAt: queuedAt }],
      timestamp: queuedAt,
      clientToken: 'c',
    },
  });
  clock.advance(5_000);
  await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS' });
  const startedAt = queuedAt + 5;
  t.match((await life.ask('pi-1', 'get', '')).body, {
    inProgressJobs: [
      { jobId: 'j1', versionNumber: 2, queuedAt, startedAt, lastUpdatedAt: startedAt },
    ],
    queuedJobs: [],
  });
});

t.test('start-next begins what waits, and gives again what is begun', async (t) => {
  const { life } = await openWithJob(t);
  const request = { statusDetails: { step: 'one' }, clientToken: 'c' };
  const { outcome, body } = await life.ask('pi-1', 'start-next', request);
  t.equal(outcome, 'accepted');
  t.match(body, {
    clientToken: 'c',
    execution: {
      jobId: 'j1',
      thingName: 'pi-1',
      status: 'IN_PROGRESS',
      statusDetails: { step: 'one' },
      versionNumber: 2,
      startedAt: Number,
      jobDocument: document,
    },
  });
  const again = await life.ask('pi-1', 'start-next', { statusDetails: { step: 'two' } });
  t.same(again.body.execution, body.execution, 'details and version stay');
  await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' });
  const { body: none } = await life.ask('pi-1', 'start-next', { clientToken: 'd' });
  t.same(Object.keys(none).sort(), ['clientToken', 'timestamp']);
});

t.test('a job is described with and without its document, by name and as $next', async (t) => {
  const { life } = await openWithJob(t);
  const named = await life.ask('pi-1', 'j1/get', { clientToken: 'c' });
  t.match(named, {
    outcome: 'accepted',
    body: { execution: { jobId: 'j1', status: 'QUEUED', jobDocument: document } },
  });
  const next = await life.ask('pi-1', '$next/get', '');
  t.same(next.body.execution, named.body.execution);
  const bare = await life.ask('pi-1', 'j1/get', { includeJobDocument: false });
  t.notOk('jobDocument' in bare.body.execution);
  const number = named.body.execution.executionNumber;
  t.ok(Number.isInteger(number) && number >= 1 && number < 2 ** 31);
  t.match(await life.ask('pi-1', 'j1/get', { executionNumber: `${number}` }), {
    outcome: 'accepted',
  });
  for (const [rest, request] of [
    ['j1/get', { executionNumber: number + 1 }],
    ['j2/get', {}],
    ['j1/update', { executionNumber: number + 1, status: 'IN_PROGRESS' }],
    ['j2/update', { status: 'IN_PROGRESS' }],
  ] as const) {
    t.match(await life.ask('pi-1', rest, { ...request, clientToken: 'c' }), {
      outcome: 'rejected',
      body: { code: 'ResourceNotFound', message: String, clientToken: 'c' },
    });
  }
});

t.test('an update is answered with what it asks for, and counts the version', async (t) => {
  const { life } = await openWithJob(t);
  const bare = await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', clientToken: 'c' });
  t.same(Object.keys(bare.body).sort(), ['clientToken', 'timestamp']);
  const both = { includeJobExecutionState: true, includeJobDocument: true };
  const statusDetails = { progress: '10%', step: 'x' };
  const full = await life.ask('pi-1', 'j1/update', {
    ...{ status: 'IN_PROGRESS', statusDetails, expectedVersion: 2, ...both },
  });
  t.match(full, {
    outcome: 'accepted',
    body: {
      executionState: { status: 'IN_PROGRESS', statusDetails, versionNumber: 3 },
      jobDocument: document,
    },
  });
  const same = await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', ...both });
  t.match(same.body.executionState, { statusDetails, versionNumber: 4 }, 'also for no change');
  const other = await life.ask('pi-1', 'j1/update', {
    ...{ status: 'IN_PROGRESS', statusDetails: { only: 'this' }, ...both },
  });
  t.strictSame(other.body.executionState.statusDetails, { only: 'this' }, 'they are replaced');
  await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED', expectedVersion: '5' });
  t.match((await life.ask('pi-1', 'j1/get')).body.execution, {
    ...{ status: 'SUCCEEDED', statusDetails: { only: 'this' }, versionNumber: 6 },
  });
});

t.test('another version than expected is refused with how it stands', async (t) => {
  const { life } = await openWithJob(t);
  const update = { status: 'IN_PROGRESS', expectedVersion: 7, clientToken: 'c' };
  t.match(await life.ask('pi-1', 'j1/update', update), {
    outcome: 'rejected',
    body: {
      code: 'VersionMismatch',
      message: String,
      clientToken: 'c',
      timestamp: Number,
      executionState: { status: 'QUEUED', statusDetails: {}, versionNumber: 1 },
    },
  });
  t.match(await life.ask('pi-1', 'j1/update', { ...update, expectedVersion: 1 }), {
    outcome: 'accepted',
  });
});

t.test('nothing leads out of a state that is final', async (t) => {
  for (const [end, others] of [
    ['SUCCEEDED', ['IN_PROGRESS', 'FAILED', 'REJECTED']],
    ['FAILED', ['IN_PROGRESS', 'SUCCEEDED', 'REJECTED']],
    ['REJECTED', ['IN_PROGRESS', 'SUCCEEDED', 'FAILED']],
  ] as const) {
    const policy = { ...campaignBody().policy, retries: 0 };
    const { life } = await openWithJob(t, { policy });
    const statusDetails = { reason: 'so it is' };
    await life.ask('pi-1', 'j1/update', { status: end, statusDetails });
    for (const status of others) {
      t.match(
        await life.ask('pi-1', 'j1/update', { status, clientToken: 'c' }),
        {
          outcome: 'rejected',
          body: {
            code: 'InvalidStateTransition',
            clientToken: 'c',
            executionState: { status: end, statusDetails, versionNumber: 2 },
          },
        },
        `${end} to ${status}`,
      );
    }
    t.match(await life.ask('pi-1', 'j1/update', { status: end }), { outcome: 'accepted' }, 'again');
    t.match((await life.ask('pi-1', 'j1/get')).body.execution, { status: end, versionNumber: 2 });
    t.match((await life.ask('pi-1', 'get')).body, { inProgressJobs: [], queuedJobs: [] });
  }
});

t.test('what fails and may be tried again is a new execution of the same job', async (t) => {
  const { life, clock } = await openWithJob(t);
  const first = (await life.ask('pi-1', 'j1/get')).body.execution;
  await life.told();
  await life.ask('pi-1', 'j1/update', { status: 'FAILED', statusDetails: { reason: 'no' } });
  t.match(await life.told(), [
    ['notify', { jobs: {} }],
    ['notify-next', { execution: undefined }],
  ]);
  t.match((await life.ask('pi-1', 'j1/get')).body.execution, { status: 'FAILED' });
  clock.advance(60_000);
  const [[, list] = [], [, next] = []] = await life.told();
  t.match(list, { jobs: { QUEUED: [{ jobId: 'j1', versionNumber: 1 }] } });
  t.match(next, { execution: { jobId: 'j1', versionNumber: 1, statusDetails: {} } });
  t.not(next?.execution.executionNumber, first.executionNumber);
  t.match(
    await life.ask('pi-1', 'j1/update', {
      ...{ status: 'SUCCEEDED', executionNumber: first.executionNumber },
    }),
    { body: { code: 'ResourceNotFound' } },
    'the one before is gone',
  );
});

t.test('a step that takes longer than the device said is timed out', async (t) => {
  const policy = { ...campaignBody().policy, retries: 0 };
  const { life, clock } = await openWithJob(t, { policy });
  await life.ask('pi-1', 'start-next', { stepTimeoutInMinutes: 5 });
  await life.told();
  clock.advance(4 * 60_000);
  await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', stepTimeoutInMinutes: 3 });
  clock.advance(2 * 60_000);
  t.same(await life.told(), [], 'the new time counts');
  clock.advance(61_000);
  t.match(await life.told(), [
    ['notify', { jobs: {} }],
    ['notify-next', {}],
  ]);
  t.match((await life.ask('pi-1', 'j1/get')).body.execution, { status: 'TIMED_OUT' });
  t.match(await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' }), {
    body: { code: 'InvalidStateTransition', executionState: { status: 'TIMED_OUT' } },
  });
});

t.test('a limit that is taken away is the one of the campaign again', async (t) => {
  const policy = { ...campaignBody().policy, retries: 0 };
  const { life, clock } = await openWithJob(t, { policy });
  await life.ask('pi-1', 'start-next', { stepTimeoutInMinutes: 1 });
  await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', stepTimeoutInMinutes: -1 });
  clock.advance(3_600_000);
  await life.settle();
  t.match((await life.ask('pi-1', 'j1/get')).body.execution, { status: 'IN_PROGRESS' });
});

t.test('a job that is cancelled is gone from the lists, and says so to who goes on', async (t) => {
  const { life, plan } = await openWithJob(t);
  await life.ask('pi-1', 'start-next', {});
  await life.told();
  plan.set({ j1: jobBody(document, { state: 'cancelling' }) });
  t.match(await life.told(), [
    ['notify', { jobs: {} }],
    ['notify-next', {}],
  ]);
  const executionState = { status: 'CANCELED', versionNumber: 2 };
  t.match(await life.ask('pi-1', 'j1/get', { clientToken: 'c' }), {
    outcome: 'rejected',
    body: { code: 'TerminalStateReached', clientToken: 'c', executionState },
  });
  for (const status of ['IN_PROGRESS', 'FAILED']) {
    t.match(await life.ask('pi-1', 'j1/update', { status }), {
      outcome: 'rejected',
      body: { code: 'InvalidStateTransition', executionState },
    });
  }
});

t.test('who has done it before it hears that it is cancelled has done it', async (t) => {
  const { life, plan, statuses } = await openWithJob(t);
  await life.ask('pi-1', 'start-next', {});
  plan.set({ j1: jobBody(document, { state: 'cancelling' }) });
  await life.settle();
  t.match(await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' }), { outcome: 'accepted' });
  t.same(await statuses('j1'), { 'pi-1': 'succeeded' });
});

t.test('what is null is not there', async (t) => {
  const { life } = await openWithJob(t);
  const absent = { statusDetails: null, expectedVersion: null, executionNumber: null };
  const update = { status: 'IN_PROGRESS', ...absent, clientToken: 'c' };
  t.match(await life.ask('pi-1', 'j1/update', update), {
    outcome: 'accepted',
    body: { clientToken: 'c' },
  });
  t.match(await life.ask('pi-1', 'j1/update', { status: null }), {
    body: { code: 'InvalidRequest' },
  });
});

t.test('a job that was not begun is cancelled at once; another comes after it', async (t) => {
  const { life, plan } = await openWithJob(t);
  await life.told();
  plan.set({ j1: jobBody(document, { state: 'cancelling' }), j2: jobBody({ two: 2 }) });
  const told = await life.told();
  t.match(told.at(-1), ['notify-next', { execution: { jobId: 'j2', jobDocument: { two: 2 } } }]);
  t.match(told.at(-2), ['notify', { jobs: { QUEUED: [{ jobId: 'j2' }] } }]);
  t.match((await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' })).body, {
    code: 'InvalidStateTransition',
    executionState: { status: 'CANCELED' },
  });
});

t.test('more than 10 requests of a connection at a time are too many', async (t) => {
  const { life, sent } = await openWithJob(t);
  await life.told();
  await Promise.all(
    Array.from({ length: 12 }, (_, at) => life.send('pi-1', 'get', { clientToken: `${at}` })),
  );
  const refused = sent.filter(({ topic }) => topic.endsWith('/rejected'));
  t.same(
    refused.map(({ body }) => [body.code, body.clientToken]),
    [
      ['RequestThrottled', '10'],
      ['RequestThrottled', '11'],
    ],
  );
  t.equal(sent.length, 12);
});
