/** What AWS IoT says of shadows, line by line, on its own topics and on the native ones alike. */
import t from 'tap';
import { openDoor } from './shadow-door-fixture.js';

const classic = { aws: '$aws/things/pi-1/shadow', native: 'dt/pi-1/shadow' } as const;
const nested = (levels: number): object =>
  levels === 1 ? { leaf: 1 } : { below: nested(levels - 1) };
const nestedText = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

for (const [set, shadow] of Object.entries(classic)) {
  const open = (t: Parameters<typeof openDoor>[0], options?: Parameters<typeof openDoor>[1]) =>
    openDoor(t, options, (topic) => topic.startsWith(shadow));

  /** What of a change is answered, told as delta (of the set's long form) and as documents. */
  const sorted = (sent: readonly [string, unknown][]) => {
    const of = (rest: string): unknown =>
      sent.find(([topic]) => topic === `${shadow}/${rest}`)?.[1];
    return {
      accepted: of('update/accepted'),
      rejected: of('update/rejected'),
      delta: of('update/delta'),
      documents: of('update/documents'),
    };
  };

  t.test(
    `${set}: an update is accepted with its own leaves, their times and the token`,
    async (t) => {
      const { send } = await open(t);
      await send(`${shadow}/update`, { state: { desired: { a: { b: 1 }, c: [1, { d: 2 }] } } });
      const state = { reported: { a: { b: 2 }, x: null }, desired: { c: null } };
      const { accepted } = sorted(await send(`${shadow}/update`, { state, clientToken: 'é1' }));
      t.same(accepted, {
        state,
        metadata: { reported: { a: { b: { timestamp: 5 } } }, desired: { c: { timestamp: 5 } } },
        version: 2,
        timestamp: 5,
        clientToken: 'é1',
      });
    },
  );

  t.test(
    `${set}: objects merge, arrays are replaced whole, null deletes a key or a section`,
    async (t) => {
      const { send } = await open(t);
      const stateOf = async (): Promise<unknown> => {
        const [[, answer] = []] = await send(`${shadow}/get`, '');
        return (answer as { state: unknown }).state;
      };
      const update = (state: unknown) => send(`${shadow}/update`, { state });
      await update({ reported: { a: { b: 1, c: [1, 2, 3] }, d: 'x' } });
      await update({ reported: { a: { c: [4], e: {} } } });
      t.same(await stateOf(), { reported: { a: { b: 1, c: [4] }, d: 'x' } });
      await update({ reported: { a: { b: null } } });
      t.same(await stateOf(), { reported: { a: { c: [4] }, d: 'x' } });
      await update({ reported: null, desired: { on: true } });
      t.same(await stateOf(), { desired: { on: true }, delta: { on: true } });
      await update({ desired: null });
      t.same(await stateOf(), {}, 'empty, and there');
      await update({ reported: { z: 1 } });
      await update(null);
      t.same(await stateOf(), {}, 'state: null empties and deletes nothing');
    },
  );

  t.test(
    `${set}: every success adds 1, and only the version that is asked for is changed`,
    async (t) => {
      const { send } = await open(t);
      const update = async (request: object) =>
        sorted(await send(`${shadow}/update`, { state: { reported: { a: 1 } }, ...request }));
      t.match((await update({})).accepted, { version: 1 });
      t.match((await update({})).accepted, { version: 2 }, 'even when nothing is different');
      t.match((await update({ version: 2 })).accepted, { version: 3 });
      t.same((await update({ version: 2, clientToken: 'c' })).rejected, {
        code: 409,
        message: 'Version conflict',
        timestamp: 5,
        clientToken: 'c',
      });
      t.match((await update({ version: null })).accepted, { version: 4 }, 'null is absent');
    },
  );

  t.test(`${set}: a shadow that is made again goes on counting`, async (t) => {
    const { send } = await open(t);
    const state = { reported: { a: 1 } };
    await send(`${shadow}/update`, { state });
    await send(`${shadow}/update`, { state });
    t.same(await send(`${shadow}/delete`, { clientToken: 'd' }), [
      [`${shadow}/delete/accepted`, { version: 2, timestamp: 5, clientToken: 'd' }],
    ]);
    const missing = { code: 404, message: "No shadow exists with name: 'pi-1'", timestamp: 5 };
    t.same(await send(`${shadow}/get`, { clientToken: 'g' }), [
      [`${shadow}/get/rejected`, { ...missing, clientToken: 'g' }],
    ]);
    t.same(await send(`${shadow}/delete`, ''), [[`${shadow}/delete/rejected`, missing]]);
    const { accepted, documents } = sorted(await send(`${shadow}/update`, { state }));
    t.match(accepted, { version: 3 });
    t.match(documents, { previous: { state: {} }, current: { state, version: 3 } });
  });

  t.test(
    `${set}: the delta is every desired leaf that is missing or different, arrays whole`,
    async (t) => {
      const { send } = await open(t);
      await send(`${shadow}/update`, {
        state: {
          desired: { same: 1, other: { x: 1, y: 1 }, list: [1, 2], missing: 'm', typed: 1 },
          reported: { same: 1, other: { x: 2, y: 1 }, list: [1, 3], own: 1, typed: '1' },
        },
      });
      const { delta } = sorted(await send(`${shadow}/update`, { state: { reported: { own: 2 } } }));
      const at = { timestamp: 5 };
      t.same(delta, {
        state: { other: { x: 1 }, list: [1, 2], missing: 'm', typed: 1 },
        metadata: { other: { x: at }, list: at, missing: at, typed: at },
        version: 2,
        timestamp: 5,
      });
      const reported = { other: { x: 1 }, list: [1, 2], missing: 'm', typed: 1 };
      const settled = sorted(
        await send(`${shadow}/update`, { state: { reported }, clientToken: 'c' }),
      );
      t.equal(settled.delta, undefined, 'none when there is nothing to do');
      const [[, got] = []] = await send(`${shadow}/get`, '');
      t.notOk('delta' in (got as { state: object }).state);
    },
  );

  t.test(`${set}: the documents are what was and what is`, async (t) => {
    const { send } = await open(t);
    const first = sorted(await send(`${shadow}/update`, { state: { reported: { a: 1 } } }));
    const at = { timestamp: 5 };
    const one = { state: { reported: { a: 1 } }, metadata: { reported: { a: at } }, version: 1 };
    t.same(first.documents, {
      previous: { state: {}, metadata: {}, version: 0 },
      current: one,
      timestamp: 5,
    });
    const request = { state: { desired: { b: [2] } }, clientToken: 'c' };
    t.same(sorted(await send(`${shadow}/update`, request)).documents, {
      previous: one,
      current: {
        state: { desired: { b: [2] }, reported: { a: 1 } },
        metadata: { desired: { b: at }, reported: { a: at } },
        version: 2,
      },
      timestamp: 5,
      clientToken: 'c',
    });
  });

  t.test(`${set}: named shadows are shadows of their own`, async (t) => {
    const { send } = await open(t);
    const longest = 'aZ9:_-'.padEnd(64, 'x');
    const sent = await send(`${shadow}/name/${longest}/update`, { state: { desired: { a: 1 } } });
    for (const [topic] of sent) t.ok(topic.startsWith(`${shadow}/name/${longest}/`), topic);
    t.match(await send(`${shadow}/get`, ''), [[`${shadow}/get/rejected`, { code: 404 }]]);
    t.match(await send(`${shadow}/name/net/get`, ''), [
      [`${shadow}/name/net/get/rejected`, { message: "No shadow exists with name: 'net'" }],
    ]);
  });

  t.test(`${set}: what is wrong is said in the numbers and words of AWS IoT`, async (t) => {
    const { send } = await open(t);
    const cases: readonly (readonly [string | Buffer | object, number, RegExp])[] = [
      ['{"clientToken":"c", "state":', 400, /^Invalid JSON/],
      ['"clientToken"', 400, /^Invalid JSON/],
      [{}, 400, /^Missing required node: state$/],
      [{ state: [] }, 400, /^State node must be an object$/],
      [{ state: 'x' }, 400, /^State node must be an object$/],
      [{ state: { other: 1 } }, 400, /^State contains an invalid node: 'other'$/],
      [{ state: { desired: [1] } }, 400, /^Desired node must be an object$/],
      [{ state: { reported: 'x' } }, 400, /^Reported node must be an object$/],
      [{ state: {}, version: '1' }, 400, /^Invalid version$/],
      [{ state: {}, version: -1 }, 400, /^Invalid version$/],
      [{ state: { reported: { a: [1, null] } } }, 400, /^State contains an invalid node: .*null/],
      [{ state: { reported: nested(9) } }, 400, /too many levels of nesting; maximum is 8$/],
      [`{"clientToken":"c","state":{"desired":${nestedText(40)}}}`, 400, /too many levels/],
      [`{"clientToken":"c","state":{"desired":${nestedText(20_000)}}}`, 413, /exceeds the maximum/],
      [{ state: { reported: { a: 'x'.repeat(8_200) } } }, 413, /^The payload exceeds the maximum/],
      [{ state: { reported: { a: 'x'.repeat(100_000) } } }, 413, /exceeds the maximum size/],
      [Buffer.from('{"clientToken":"c","x":"\xff"}', 'latin1'), 415, /supported encoding is UTF-8/],
      ['{"clientToken":"c","state":{"desired":{"__proto__":1}}}', 400, /^Invalid JSON/],
      ['{"clientToken":"c","state":{"desired":{"a":1e999}}}', 400, /^Invalid JSON/],
      ['{"clientToken":"c","state":{"desired":{"a":"\\ud800"}}}', 400, /^Invalid JSON/],
    ];
    for (const [request, code, message] of cases) {
      const isText = typeof request === 'string' || Buffer.isBuffer(request);
      const payload = isText ? request : { ...request, clientToken: 'c' };
      const [[topic, answer] = [], ...others] = await send(`${shadow}/update`, payload);
      const what = `${JSON.stringify(request).slice(0, 60)} as ${code}`;
      t.equal(topic, `${shadow}/update/rejected`, what);
      t.match(answer, { code, message, timestamp: 5 }, what);
      const hasToken = payload !== '"clientToken"';
      t.equal((answer as { clientToken?: string }).clientToken, hasToken ? 'c' : undefined, what);
      t.same(others, []);
    }
    t.match(await send(`${shadow}/get`, ''), [[`${shadow}/get/rejected`, { code: 404 }]]);
  });

  t.test(`${set}: a token has at most 64 bytes, on every request`, async (t) => {
    const { send } = await open(t);
    const state = { reported: { a: 1 } };
    const longest = 'é'.repeat(32);
    for (const operation of ['update', 'get', 'delete']) {
      const refused = await send(`${shadow}/${operation}`, { state, clientToken: `${longest}x` });
      t.same(
        refused,
        [
          [
            `${shadow}/${operation}/rejected`,
            { code: 400, message: 'Invalid clientToken', timestamp: 5 },
          ],
        ],
        operation,
      );
      const [[topic, answer] = []] = await send(`${shadow}/${operation}`, {
        state,
        clientToken: longest,
      });
      t.equal(topic, `${shadow}/${operation}/accepted`);
      t.match(answer, { clientToken: longest });
    }
  });

  t.test(`${set}: fields at the top that it does not know are ignored`, async (t) => {
    const { send } = await open(t);
    const request = { state: { reported: { a: 1 } }, thingName: 'pi-1', shadowName: 'x', more: {} };
    t.match(sorted(await send(`${shadow}/update`, request)).accepted, { version: 1 });
    t.match(await send(`${shadow}/get`, { thingName: 'pi-1' }), [[`${shadow}/get/accepted`, {}]]);
    t.match(await send(`${shadow}/delete`, { thingName: 'pi-1', version: 1 }), [
      [`${shadow}/delete/accepted`, {}],
    ]);
  });

  t.test(`${set}: 8 levels and 8 KB fit; metadata does not count`, async (t) => {
    const { send } = await open(t);
    const update = async (state: object) => sorted(await send(`${shadow}/update`, { state }));
    t.match((await update({ reported: nested(8) })).accepted, { version: 1 });
    await update({ reported: null });
    const most = 8_192 - Buffer.byteLength(JSON.stringify({ a: '' }));
    t.match((await update({ reported: { a: 'x'.repeat(most) } })).accepted, { version: 3 });
    t.match((await update({ desired: { b: 1 } })).rejected, { code: 413 }, 'both count together');
    t.match((await update({ reported: { a: 'y'.repeat(most) } })).accepted, { version: 4 });
  });

  t.test(`${set}: a setting raises the 8 KB to as much as 30`, async (t) => {
    const { send } = await open(t, { maxDocumentBytes: 30_720 });
    const update = async (bytes: number) =>
      sorted(await send(`${shadow}/update`, { state: { reported: { a: 'x'.repeat(bytes) } } }));
    t.match((await update(30_720 - 8)).accepted, { version: 1 });
    t.match((await update(30_720 - 7)).rejected, { code: 413 });
  });

  t.test(`${set}: more than 10 requests of a connection at a time are too many`, async (t) => {
    const { send, told } = await open(t);
    const asked = Array.from({ length: 12 }, (_, at) =>
      send(`${shadow}/get`, { clientToken: `${at}` }),
    );
    const answers = [...(await Promise.all(asked)).flat(), ...(await told())].map(
      ([, answer]) => answer as { code: number; clientToken: string },
    );
    t.same(
      answers.filter(({ code }) => code === 429).map(({ clientToken }) => clientToken),
      ['10', '11'],
    );
    t.equal(answers.length, 12);
    t.match(await send(`${shadow}/get`, ''), [[`${shadow}/get/rejected`, { code: 404 }]]);
  });
}

t.test(
  'who asks is answered on the topics it asked on, and all sets hear of the change',
  async (t) => {
    const { send, told, shadows } = await openDoor(t, {}, () => true);
    const topics = (sent: readonly [string, unknown][]) => sent.map(([topic]) => topic);
    const state = { desired: { a: 1 } };
    const events = [
      'dt/pi-1/shadow/update/delta',
      'dt/pi-1/shadow/delta',
      '$aws/things/pi-1/shadow/update/delta',
      'dt/pi-1/shadow/update/documents',
      '$aws/things/pi-1/shadow/update/documents',
    ];
    t.same(topics(await send('$aws/things/pi-1/shadow/update', { state })), [
      '$aws/things/pi-1/shadow/update/accepted',
      ...events,
    ]);
    t.same(topics(await send('dt/pi-1/shadow/update', { state })), [
      'dt/pi-1/shadow/update/accepted',
      ...events,
    ]);
    await shadows.request({
      ...{ device: 'pi-1', name: '-', type: 'update', writer: 'site:ann' },
      patch: { desired: { a: 2 } },
    });
    t.same(topics(await told()), events);
  },
);

t.test('nothing is published where nobody hears it', async (t) => {
  const heard = new Set(['$aws/things/pi-1/shadow/update/delta']);
  const { send } = await openDoor(t, {}, (topic) => heard.has(topic));
  const sent = await send('$aws/things/pi-1/shadow/update', { state: { desired: { a: 1 } } });
  t.match(sent, [['$aws/things/pi-1/shadow/update/delta', { state: { a: 1 } }]]);
  t.equal(sent.length, 1);
  t.same(await send('dt/pi-1/shadow/get', ''), []);
});
