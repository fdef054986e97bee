import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import type { InboundMessage, OutboundMessage } from '../../broker/broker.js';
import type { ShadowRequestMessage } from '../shadow/shadow-door.js';
import { openAwsDoor } from './aws-door.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const unused = async (): Promise<never> => {
  throw new Error('nobody asks for it');
};

/** A site where there is nothing to do. */
const nothing = {
  updates: {
    executionsOf: () => [],
    executionOf: async () => undefined,
    report: unused,
    heard: async () => undefined,
    tellThrough: () => undefined,
    seen: unused,
  },
  site: { read: { get: unused }, commit: unused },
  isHeard: () => true,
  isSpoken: () => true,
  isConnected: () => true,
  documentOf: () => ({}),
};

const open = (failing: { error?: Error } = {}) => {
  const sent: { topic: string; to: string | undefined; qos: number; body: unknown }[] = [];
  const asked: ShadowRequestMessage[] = [];
  const fail = (): void => {
    if (failing.error !== undefined) throw failing.error;
  };
  const door = openAwsDoor({
    shadows: {
      handle: async (request) => {
        fail();
        asked.push(request);
      },
    },
    publish: async ({ topic, to, qos, payload }: OutboundMessage) =>
      void sent.push({ topic, to, qos, body: JSON.parse(Buffer.from(payload).toString()) }),
    ...nothing,
    fence: {
      check: () => {
        if (failing.error !== undefined && 'isFence' in failing.error) throw failing.error;
      },
      isFenced: () => false,
    },
    lifecycles: { check: () => undefined },
    now: () => 5_999,
    log: silent,
  });
  const say = async (rest: string, payload: unknown, more: Partial<InboundMessage> = {}) => {
    await door.handle({
      identity: { kind: 'device', site: 's', device: 'pump', serial: '1', issuerSerial: '2' },
      clientId: 'pump:a',
      topic: `$aws/things/pump/${rest}`,
      payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
      qos: 1,
      retain: false,
      sessionId: 'session-1',
      ...more,
    });
    return sent.splice(0);
  };
  return { door, say, asked, sent };
};

/** The answer to a request for a job, and that it went to the asker alone, on the topic of the request. */
const answered = async (
  t: Test,
  rest: string,
  payload: unknown,
): Promise<readonly [string, unknown]> => {
  const [one, ...others] = await open().say(rest, payload);
  t.equal(others.length, 0);
  t.match(one, { to: 'pump:a', qos: 1 });
  const prefix = `$aws/things/pump/${rest}/`;
  t.ok(one?.topic.startsWith(prefix));
  return [one?.topic.slice(prefix.length) ?? '', one?.body];
};

t.test('a thing has no jobs: the lists are empty and there is no next one', async (t) => {
  const token = { clientToken: 'c', timestamp: 5 };
  t.same(await answered(t, 'jobs/get', { clientToken: 'c' }), [
    'accepted',
    { inProgressJobs: [], queuedJobs: [], ...token },
  ]);
  const details = { statusDetails: { step: 'one' }, stepTimeoutInMinutes: 5 };
  t.same(await answered(t, 'jobs/start-next', { ...details, clientToken: 'c' }), [
    'accepted',
    token,
  ]);
  t.same(
    await answered(t, 'jobs/$next/get', {
      ...{ includeJobDocument: true, executionNumber: 1, clientToken: 'c', thingName: 'pump' },
    }),
    ['accepted', token],
  );
  for (const rest of ['jobs/get', 'jobs/start-next', 'jobs/$next/get']) {
    t.match(await answered(t, rest, ''), ['accepted', { timestamp: 5 }]);
  }
});

t.test('a job that is named is not found', async (t) => {
  const rejected = [
    'rejected',
    {
      code: 'ResourceNotFound',
      message: "There is no execution of the job 'j1'",
      timestamp: 5,
      clientToken: 'c',
    },
  ];
  t.same(await answered(t, 'jobs/j1/get', { clientToken: 'c' }), rejected);
  const update = { status: 'SUCCEEDED', expectedVersion: '2', clientToken: 'c' };
  t.same(await answered(t, 'jobs/j1/update', update), rejected);
  t.match(await answered(t, 'jobs/$next/update', update), ['rejected', { code: 'InvalidTopic' }]);
});

t.test('what cannot be read is refused in the codes of AWS IoT, with the token', async (t) => {
  const cases: readonly (readonly [string, string | object, string])[] = [
    ['jobs/get', '{"clientToken":"c"', 'InvalidJson'],
    ['jobs/get', `{"clientToken":"c","x":${'['.repeat(20)}${']'.repeat(20)}}`, 'InvalidJson'],
    ['jobs/get', { x: 'x'.repeat(17_000) }, 'InvalidRequest'],
    ['jobs/start-next', { statusDetails: { a: 1 } }, 'InvalidRequest'],
    ['jobs/start-next', { stepTimeoutInMinutes: 10_081 }, 'InvalidRequest'],
    ['jobs/j1/get', { includeJobDocument: 'yes' }, 'InvalidRequest'],
    ['jobs/j1/get', { executionNumber: -1 }, 'InvalidRequest'],
    ['jobs/j1/update', {}, 'InvalidRequest'],
    ['jobs/j1/update', { status: 'TIMED_OUT' }, 'InvalidRequest'],
    ['jobs/j1/update', { status: 'FAILED', expectedVersion: 'x' }, 'InvalidRequest'],
    ['jobs/j1/update', { status: 'FAILED', statusDetails: { 'a b': 'c' } }, 'InvalidRequest'],
  ];
  for (const [rest, request, code] of cases) {
    const payload = typeof request === 'string' ? request : { ...request, clientToken: 'c' };
    t.match(
      await answered(t, rest, payload),
      ['rejected', { code, message: String, timestamp: 5, clientToken: 'c' }],
      `${rest} ${JSON.stringify(request).slice(0, 50)}`,
    );
  }
  t.match(await answered(t, 'jobs/get', '[]'), ['rejected', { code: 'InvalidRequest' }]);
  const long = { clientToken: 'x'.repeat(65) };
  t.strictSame((await answered(t, 'jobs/get', long))[0], 'rejected');
});

t.test(
  'who asks with QoS 0 is answered with QoS 0, whoever asks with more with QoS 1',
  async (t) => {
    const { say } = open();
    t.match(await say('jobs/get', '', { qos: 0 }), [{ qos: 0 }]);
    t.match(await say('jobs/get', '', { qos: 2 }), [{ qos: 1 }]);
  },
);

t.test('shadow requests are handed on with their connection', async (t) => {
  const { say, asked } = open();
  await say('shadow/name/net/update', '{}');
  t.match(asked, [
    {
      topic: { kind: 'shadow_request', operation: 'update', device: 'pump', name: 'net' },
      set: { door: 'aws' },
      sessionId: 'session-1',
    },
  ]);
});

t.test('nobody else speaks for a thing, and what is no request is nothing', async (t) => {
  const { say, asked } = open();
  t.same(await say('shadow/get', '', { topic: '$aws/things/other/shadow/get' }), []);
  const service = { kind: 'service', name: 'm', publish: ['#'], subscribe: [] } as const;
  t.same(await say('jobs/get', '', { identity: service }), []);
  t.same(await say('shadow/get/accepted', ''), []);
  t.same(await say('jobs/notify', '{}'), []);
  t.same(asked, []);
});

t.test('what fails for now is not acknowledged, what fails for good is', async (t) => {
  await t.rejects(open({ error: new HoldfastError('STORE_FULL', 'no') }).say('shadow/get', ''), {
    code: 'STORE_FULL',
  });
  await open({ error: new HoldfastError('REQUEST_INVALID', 'no') }).say('shadow/get', '');
  const fenced = Object.assign(new HoldfastError('GATEWAY_FENCED', 'replaced'), { isFence: true });
  await t.rejects(open({ error: fenced }).say('jobs/get', ''), { code: 'GATEWAY_FENCED' });
});
