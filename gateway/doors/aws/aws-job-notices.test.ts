/** When devices on the jobs topics of AWS IoT are told of what is pending, and that it is once. */
import t from 'tap';
import { document, jobBody, openJobsSite, openWithJob } from './aws-jobs-fixture.js';

t.test('a job is told on notify and notify-next when it is there, and once', async (t) => {
  const { life, clock } = await openWithJob(t);
  const at = Math.floor(clock.now() / 1_000);
  const told = await life.told();
  const summary = {
    jobId: 'j1',
    executionNumber: Number,
    versionNumber: 1,
    queuedAt: at,
    lastUpdatedAt: at,
  };
  t.match(told, [
    ['notify', { timestamp: at, jobs: { QUEUED: [summary] } }],
    [
      'notify-next',
      {
        timestamp: at,
        execution: {
          ...summary,
          thingName: 'pi-1',
          status: 'QUEUED',
          statusDetails: {},
          jobDocument: document,
        },
      },
    ],
  ]);
  t.equal(told.length, 2);
  t.strictSame(told[1]?.[1].execution.jobDocument, document, 'word for word');
  t.notOk('IN_PROGRESS' in (told[0]?.[1].jobs ?? {}), 'what is empty is left out');
  t.notOk('startedAt' in (told[1]?.[1].execution ?? {}), 'not begun');
  await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS' });
  await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', statusDetails: { a: '1' } });
  t.same(await life.told(), [], 'the list has the same member, and it is still the first');
  await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' });
  t.same(await life.told(), [
    ['notify', { timestamp: at, jobs: {} }],
    ['notify-next', { timestamp: at }],
  ]);
});

t.test(
  'what was told is not told again after a restart, nor to a device that comes back',
  async (t) => {
    const { life, session, start } = await openWithJob(t);
    t.equal((await life.told()).length, 2);
    await life.disconnect('pi-1', session);
    await life.connect('pi-1');
    t.same(await life.told(), []);
    await life.close();
    const next = await start();
    await next.connect('pi-1');
    t.same(await next.told(), []);
    t.match((await next.ask('pi-1', '$next/get')).body.execution, {
      jobId: 'j1',
      status: 'QUEUED',
    });
  },
);

t.test('a device that asked for the next one is not told of it besides', async (t) => {
  const { start, plan } = await openJobsSite(t);
  plan.set({ j1: jobBody(document) });
  const life = await start();
  await life.dispatch({
    ...{ type: 'session', device: 'pi-1', session: 'first', connected: true, model: 'pi' },
  });
  await life.updates.settled();
  // It was offered on the native topics, and turns out to speak these.
  const { body } = await life.ask('pi-1', '$next/get');
  t.equal(body.execution.jobId, 'j1');
  t.match(await life.told(), [['notify', { jobs: { QUEUED: [{ jobId: 'j1' }] } }]]);
});

t.test('a device that is away is told when it is back', async (t) => {
  const { life, session, plan } = await openWithJob(t);
  await life.told();
  await life.disconnect('pi-1', session);
  plan.set({ j1: jobBody(document, { state: 'cancelling' }) });
  t.same(await life.told(), []);
  await life.connect('pi-1');
  t.match(await life.told(), [
    ['notify', { jobs: {} }],
    ['notify-next', {}],
  ]);
});

t.test('nothing is published where nobody hears it', async (t) => {
  const { heard, start, plan } = await openJobsSite(t);
  heard.isHeard = false;
  plan.set({ j1: jobBody(document) });
  const life = await start();
  await life.connect('pi-1');
  t.same(await life.told(), []);
});

t.test(
  'jobs are run one after the other, as they came; none takes the place of another',
  async (t) => {
    const { life, plan } = await openWithJob(t);
    plan.set({ j1: jobBody(document), j2: jobBody({ two: 2 }, { started_at: 2_000 }) });
    await life.settle();
    const { body } = await life.ask('pi-1', 'start-next', {});
    t.equal(body.execution.jobId, 'j1');
    await life.told();
    await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED' });
    const told = await life.told();
    t.match(told.at(-1), ['notify-next', { execution: { jobId: 'j2' } }]);
    t.match((await life.ask('pi-1', 'get')).body, { queuedJobs: [{ jobId: 'j2' }] });
  },
);

t.test('what is taken back is removed, and comes again as another execution', async (t) => {
  const { life, plan } = await openWithJob(t);
  const [, [, first] = []] = await life.told();
  plan.set({ j1: jobBody(document, { state: 'paused' }) });
  t.match(await life.told(), [
    ['notify', { jobs: {} }],
    ['notify-next', { execution: undefined }],
  ]);
  const gone = await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS' });
  t.match(gone.body, { code: 'InvalidStateTransition', executionState: { status: 'REMOVED' } });
  plan.set({ j1: jobBody(document) });
  const [, [, again] = []] = await life.told();
  t.match(again, { execution: { jobId: 'j1', status: 'QUEUED' } });
  t.not(again?.execution.executionNumber, first?.execution.executionNumber);
});
