import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { FarEnd, probeOf } from './far-end.js';
import { TestWan } from './test-wan.js';

const listening = async (t: Test) => {
  const server = createServer((socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
};

/** A far end that answers as it is told, and what becomes of the watch. */
const watching = (answers: boolean[], options = { everyMs: 0, spreadMs: 0 }) => {
  let asked = 0;
  let tell: (what: 'asked all' | 'back') => void = () => undefined;
  const outcome = () =>
    new Promise<string>((resolve) => {
      tell = resolve;
    });
  const farEnd = new FarEnd(
    {
      probe: async () => {
        asked += 1;
        const answer = answers.shift();
        if (answers.length === 0) setImmediate(() => tell('asked all'));
        return answer ?? false;
      },
      entropy: () => 0.5,
    },
    options,
  );
  return { farEnd, outcome, watch: () => farEnd.watch(() => tell('back')), asked: () => asked };
};

t.test('tells of a control plane that is back after it was away', async (t) => {
  const { farEnd, outcome, watch, asked } = watching([false, false, true, true]);
  const told = outcome();
  watch();
  t.equal(await told, 'back');
  t.equal(asked(), 3, 'and asks no more');
  farEnd.stop();
});

t.test('leaves one that answers and serves nobody to the back-off', async (t) => {
  const { farEnd, outcome, watch } = watching([true]);
  const told = outcome();
  watch();
  t.equal(await told, 'asked all', 'it was never away');
  farEnd.stop();
});

t.test('knows over several attempts of the link that it was away, and tells once', async (t) => {
  const answers = [false];
  const { farEnd, outcome, watch } = watching(answers);
  let told = outcome();
  watch();
  t.equal(await told, 'asked all');
  answers.push(true, true);
  told = outcome();
  watch();
  t.equal(await told, 'back');
  told = outcome();
  watch();
  t.equal(await told, 'asked all', 'the attempt failed, though it can be reached');
  farEnd.stop();
});

t.test('sites that notice at the same moment come back one after the other', async (t) => {
  const told: number[] = [];
  await Promise.all(
    [9, 5, 1].map((site) => {
      const answers = [false, true];
      const farEnd = new FarEnd(
        { probe: async () => answers.shift() ?? true, entropy: () => site / 10 },
        { everyMs: 0, spreadMs: 200 },
      );
      return new Promise<void>((resolve) =>
        farEnd.watch(() => {
          told.push(site);
          resolve();
        }),
      );
    }),
  );
  t.same(told, [1, 5, 9], 'each by its own chance');
});

t.test('a bare connection says whether somebody is there', async (t) => {
  const { server, port } = await listening(t);
  const wan = await TestWan.open(port);
  t.teardown(() => wan.close());
  const probe = probeOf(wan.address, undefined);
  const { signal } = new AbortController();
  t.equal(await probe(signal), true);
  wan.cut();
  t.equal(await probe(signal), false, 'one that is closed at once is none');
  wan.restore();
  t.equal(await probe(signal), true);
  server.close();
  await once(server, 'close');
  t.equal(await probeOf(`127.0.0.1:${port}`, undefined)(signal), false, 'nobody listens');
  t.equal(await probe(AbortSignal.abort()), false);
});
