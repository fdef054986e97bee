import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { emptyShadow, mintOperations } from '@holdfast/protos/semantics/shadow-merge';
import t from 'tap';
import { shadowDoor } from './shadow-door.js';
import { openDoor } from './shadow-door-fixture.js';
import { awsShadowTopics } from './shadow-topic-set.js';

const byToken = (a: unknown, b: unknown): number =>
  JSON.stringify(a) > JSON.stringify(b) ? 1 : -1;

t.test(
  'answers an update, then tells the delta on both its topics and the documents',
  async (t) => {
    const { send } = await openDoor(t);
    await send('dt/pi-1/shadow/update', { state: { desired: { level: 4 } } });
    const state = { reported: { level: 3, list: [1] } };
    t.same(await send('dt/pi-1/shadow/update', { state, clientToken: 'c' }), [
      [
        'dt/pi-1/shadow/update/accepted',
        {
          state,
          metadata: { reported: { level: { timestamp: 5 }, list: { timestamp: 5 } } },
          version: 2,
          timestamp: 5,
          clientToken: 'c',
        },
      ],
      ...['dt/pi-1/shadow/update/delta', 'dt/pi-1/shadow/delta'].map((topic) => [
        topic,
        {
          state: { level: 4 },
          metadata: { level: { timestamp: 5 } },
          version: 2,
          timestamp: 5,
          clientToken: 'c',
        },
      ]),
      [
        'dt/pi-1/shadow/update/documents',
        {
          previous: {
            state: { desired: { level: 4 } },
            metadata: { desired: { level: { timestamp: 5 } } },
            version: 1,
          },
          current: {
            state: { desired: { level: 4 }, reported: { level: 3, list: [1] } },
            metadata: {
              desired: { level: { timestamp: 5 } },
              reported: { level: { timestamp: 5 }, list: { timestamp: 5 } },
            },
            version: 2,
          },
          timestamp: 5,
          clientToken: 'c',
        },
      ],
    ]);
    const same = await send('dt/pi-1/shadow/update', { state: { reported: { level: 4 } } });
    t.notOk(
      same.some(([topic]) => topic.endsWith('delta')),
      'no delta when there is none',
    );
  },
);

t.test('serves named shadows on their own topics', async (t) => {
  const { send } = await openDoor(t);
  const sent = await send('dt/pi-1/shadow/name/net/update', { state: { desired: { a: 1 } } });
  t.same(
    sent.map(([topic]) => topic),
    ['update/accepted', 'update/delta', 'delta', 'update/documents'].map(
      (rest) => `dt/pi-1/shadow/name/net/${rest}`,
    ),
  );
  t.match(await send('dt/pi-1/shadow/get', ''), [['dt/pi-1/shadow/get/rejected', { code: 404 }]]);
});

t.test('answers get with state, delta and the token', async (t) => {
  const { send } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { desired: { a: 1 }, reported: { b: 2 } } });
  t.same(await send('dt/pi-1/shadow/get', { clientToken: 'g' }), [
    [
      'dt/pi-1/shadow/get/accepted',
      {
        state: { desired: { a: 1 }, reported: { b: 2 }, delta: { a: 1 } },
        metadata: {
          desired: { a: { timestamp: 5 } },
          reported: { b: { timestamp: 5 } },
          delta: { a: { timestamp: 5 } },
        },
        version: 1,
        timestamp: 5,
        clientToken: 'g',
      },
    ],
  ]);
});

t.test('answers whom it cannot serve now', async (t) => {
  const { send } = await openDoor(t, { maxWaiting: 1 });
  const [first, second] = [
    send('dt/pi-1/shadow/get', { clientToken: '1' }),
    send('dt/pi-1/shadow/get', { clientToken: '2' }),
  ];
  t.match([...(await first), ...(await second)].map(([, answer]) => answer).sort(byToken), [
    { code: 404, clientToken: '1' },
    { code: 429, clientToken: '2' },
  ]);
});

t.test('answers delete with the version that was deleted', async (t) => {
  const { send } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { reported: { b: 2 } } });
  t.same(await send('dt/pi-1/shadow/delete', { clientToken: 'd' }), [
    ['dt/pi-1/shadow/delete/accepted', { version: 1, timestamp: 5, clientToken: 'd' }],
  ]);
  t.same(await send('dt/pi-1/shadow/delete', { clientToken: 'd' }), [
    [
      'dt/pi-1/shadow/delete/rejected',
      {
        code: 404,
        message: "No shadow exists with name: 'pi-1'",
        timestamp: 5,
        clientToken: 'd',
      },
    ],
  ]);
});

t.test('says what is wrong, with the number AWS IoT has for it', async (t) => {
  const { send } = await openDoor(t);
  const cases: readonly (readonly [unknown, number])[] = [
    ['{', 400],
    ['['.repeat(20_000), 400],
    ['x'.repeat(40_000), 413],
    [{ clientToken: 'c' }, 400],
    [{ state: { reported: { text: 'x'.repeat(9_000) } }, clientToken: 'c' }, 413],
    [{ state: { reported: { a: [null] } }, clientToken: 'c' }, 400],
    [{ state: { reported: { a: 1 } }, version: 3, clientToken: 'c' }, 409],
  ];
  for (const [payload, code] of cases) {
    const [[topic, answer] = [], ...others] = await send('dt/pi-1/shadow/update', payload);
    t.equal(topic, 'dt/pi-1/shadow/update/rejected');
    t.match(answer, { code, message: String, timestamp: 5 });
    if (typeof payload === 'object') t.match(answer, { clientToken: 'c' });
    t.same(others, []);
  }
});

t.test('a device that was away gets one delta, of how things stand when it is back', async (t) => {
  const { fence, send, told, shadows, online, door } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { reported: { level: 1 } } });
  online.delete('pi-1');
  const key = { device: 'pi-1', name: '-' };
  for (const level of [2, 3]) {
    const patch = { desired: { level } };
    await shadows.request({ ...key, type: 'update', writer: 'site:ann', patch });
  }
  const operations = mintOperations(emptyShadow, [{ path: ['desired', 'mode'], value: 'eco' }], {
    replica: 'cloud',
    writer: 'cloud',
    seen: zeroTime,
    clock: { now: 6_000, trusted: true },
  });
  let write: Parameters<Parameters<typeof shadows.applyRemote>[1]>[0] = [];
  await shadows.applyRemote({ device: 'pi-1', shadow: '-', operations }, async (given) => {
    write = given;
  });
  t.ok(write.length > 0);
  t.notOk((await told()).some(([topic]) => topic.endsWith('delta')));
  online.add('pi-1');
  await door.connected('pi-1');
  const delta = { state: { level: 3, mode: 'eco' }, version: 4 };
  t.match(await told(), [
    ['dt/pi-1/shadow/update/delta', delta],
    ['dt/pi-1/shadow/delta', delta],
  ]);
  fence.isFenced = true;
  await door.connected('pi-1');
  t.same(await told(), [], 'a gateway that owns the site no more desires nothing');
});

t.test('what fails for good is answered, what may go well later is not taken', async (t) => {
  const sent: unknown[] = [];
  const ask = (operation: 'get' | 'update', code: 'REQUEST_INVALID' | 'STORE_FULL') => {
    const fail = () => Promise.reject(new HoldfastError(code, 'no'));
    const door = shadowDoor({
      shadows: { get: fail, request: fail, namesOf: async () => [] },
      publish: async ({ topic, payload }) =>
        void sent.push([topic, JSON.parse(Buffer.from(payload).toString())]),
      ...{ isHeard: () => true, isConnected: () => true, isFenced: () => false },
      now: () => 5_000,
    });
    return door.handle({
      topic: { kind: 'shadow_request', operation, device: 'pi-1' },
      set: awsShadowTopics,
      payload: Buffer.from('{"state":{},"clientToken":"c"}'),
      sessionId: 'session-1',
    });
  };
  for (const operation of ['get', 'update'] as const) {
    await t.rejects(ask(operation, 'STORE_FULL'), { code: 'STORE_FULL' });
    t.same(sent, [], 'the connection ends, and it comes again');
    await t.rejects(ask(operation, 'REQUEST_INVALID'), { code: 'REQUEST_INVALID' });
    t.same(sent.splice(0), [
      [
        `$aws/things/pi-1/shadow/${operation}/rejected`,
        { code: 500, message: 'Internal service failure', timestamp: 5, clientToken: 'c' },
      ],
    ]);
  }
});
