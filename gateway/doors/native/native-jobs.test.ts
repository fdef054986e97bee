/** Plain jobs on the native topics, over the executions of a site. */
import { parseTopic } from '@holdfast/protos/mqtt/topics';
import t, { type Test } from 'tap';
import { campaignBody, log, openTestSite } from '../../updates/updates-fixture.js';
import { jobBody } from '../aws/aws-jobs-fixture.js';
import { openNativeDoor } from './native-door.js';

const device = 'pi-1';
const document = { do: ['this', { and: 'that' }], operation: 'none of ours', '': null };

const open = async (t: Test, changes: Parameters<typeof campaignBody>[0] = {}) => {
  const site = await openTestSite(t);
  const sent: [string, Record<string, unknown>][] = [];
  const take = (topic: string, payload: Uint8Array): void =>
    void sent.push([topic, JSON.parse(Buffer.from(payload).toString())]);
  site.plan.set({ j1: jobBody(document, changes) });
  const life = await site.start(({ topic, payload }) => take(topic, payload));
  const door = openNativeDoor({
    dispatch: life.dispatch,
    shadows: { handle: async () => undefined },
    arrived: async () => undefined,
    beat: async () => undefined,
    publish: async ({ topic, payload }) => take(topic, payload),
    fence: { check: () => undefined },
    lifecycles: { check: () => undefined },
    clock: site.clock,
    log,
  });
  const told = async () => {
    await life.updates.settled();
    await life.outbox.idle();
    return sent.splice(0);
  };
  /** Publishes as the device; what was sent because of it, by topic. */
  const say = async (rest: string, payload: object = {}) => {
    await door.handle({
      identity: { kind: 'device', site: 's', device, serial: '1', issuerSerial: '2' },
      ...{ clientId: device, topic: `dt/${device}/${rest}`, qos: 1, retain: false },
      payload: Buffer.from(JSON.stringify(payload)),
      sessionId: 'one',
    });
    return Object.fromEntries(await told());
  };
  await life.dispatch({ type: 'session', device, session: 'one', connected: true });
  await life.updates.settled();
  await life.outbox.idle();
  return { ...site, say, told };
};

t.test('a plain job is told word for word, and ends as the device says', async (t) => {
  const { say, told, statuses } = await open(t);
  const [[topic, notice] = []] = await told();
  t.same(parseTopic(topic ?? ''), { kind: 'jobs_notify', device });
  t.match(notice, { execution: { job_id: 'j1', status: 'offered' } });
  const { execution } = notice as { execution: { document: object } };
  t.strictSame(execution.document, document);
  const asked = await say('jobs/next/get', { client_token: 'c' });
  t.match(asked[`dt/${device}/jobs/next/get/accepted`], {
    client_token: 'c',
    execution: { job_id: 'j1', document },
  });
  const answer = `dt/${device}/jobs/j1/update/accepted`;
  const details = { step: 'halfway' };
  const begun = await say('jobs/j1/update', { status: 'in_progress', progress: 50, details });
  t.match(begun[answer], { execution: { status: 'in_progress' } });
  const done = await say('jobs/j1/update', { status: 'succeeded' });
  t.match(done[answer], { execution: { status: 'succeeded' } });
  t.same(done[`dt/${device}/jobs/notify`], { execution: null });
  t.same(await statuses('j1'), { [device]: 'succeeded' }, 'without a proof of boot');
});

t.test('a job that fails or is rejected has failed, with the reason', async (t) => {
  for (const status of ['failed', 'rejected'] as const) {
    const policy = { ...campaignBody().policy, retries: 0 };
    const { say, statuses, journal } = await open(t, { policy });
    await say('jobs/j1/update', { status: 'in_progress' });
    await say('jobs/j1/update', { status, error: 'no hands' });
    t.same(await statuses('j1'), { [device]: 'failed' });
    const ends = (await journal()).filter(({ kind }) => kind === 'execution');
    t.match(ends.at(-1), { status: 'failed', error: 'no hands', door: 'native' });
    const late = await say('jobs/j1/update', { status: 'in_progress' });
    t.match(late[`dt/${device}/jobs/j1/update/rejected`], { code: 409 });
  }
});

t.test('a job that was begun is tried again, and runs out', async (t) => {
  const { say, clock, told, statuses } = await open(t);
  await say('jobs/j1/update', { status: 'in_progress' });
  clock.advance(3 * 3_600_000);
  await told();
  t.same(await statuses('j1'), { [device]: 'queued' });
  clock.advance(60_000);
  const [, next] = (await told()).at(-1) ?? [];
  t.match(next, { execution: { job_id: 'j1', status: 'offered' } });
});

t.test('a job that is cancelled is taken back, and stops who has begun it', async (t) => {
  const { say, plan, told, statuses } = await open(t);
  await say('jobs/j1/update', { status: 'in_progress' });
  await told();
  plan.set({ j1: jobBody(document, { state: 'cancelling' }) });
  t.match((await told()).at(-1)?.[1], { execution: { job_id: 'j1', status: 'cancelling' } });
  const stopped = await say('jobs/j1/update', { status: 'cancelled' });
  t.ok(stopped[`dt/${device}/jobs/j1/update/accepted`]);
  t.same(await statuses('j1'), { [device]: 'cancelled' });
});
