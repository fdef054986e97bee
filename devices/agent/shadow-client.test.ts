import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { ShadowDownTopic } from '@holdfast/protos/mqtt/shadow-topics';
import t from 'tap';
import { ShadowClient } from './shadow-client.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A client that is connected, and what it said, which `next` waits for. */
const open = () => {
  const said: string[] = [];
  let wake = (): void => undefined;
  const settings: JsonObject[] = [];
  const facts = { level: 1 };
  const client = new ShadowClient(
    {
      session: {
        publish: async (topic, payload) => {
          said.push(`${topic.slice('dt/pi/shadow/'.length)} ${JSON.stringify(payload)}`);
          wake();
        },
      },
      settings: {
        reported: {},
        replace: async (state) => void settings.push(state),
        merge: async (state) => void settings.push(state),
      },
      log: silent,
      facts: () => ({ ...facts }),
    },
    { device: 'pi', askAgainMs: 1 },
  );
  const answer = (operation: 'get' | 'update', outcome: 'accepted' | 'rejected', body: object) => {
    const topic = { kind: 'shadow_answer', operation, outcome, device: 'pi' } as const;
    return client.receive(topic satisfies ShadowDownTopic, Buffer.from(JSON.stringify(body)));
  };
  const next = async (): Promise<string | undefined> => {
    if (said.length === 0) {
      // The client's own timer keeps no program alive.
      const alive = setTimeout(() => undefined, 10_000);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      clearTimeout(alive);
    }
    return said.shift();
  };
  client.connected();
  return { client, answer, said, next, settings, facts };
};

t.test('a shadow that is not there is an empty one', async (t) => {
  const { answer, next, settings } = open();
  t.equal(await next(), 'get {}');
  await answer('get', 'rejected', { code: 404 });
  t.same(settings, [{}]);
  t.equal(await next(), 'update {"state":{"reported":{"level":1}}}');
});

t.test('an answer that is none leaves the settings alone, and is asked for again', async (t) => {
  for (const code of [429, 500]) {
    const { answer, next, settings } = open();
    await next();
    await answer('get', 'rejected', { code });
    t.equal(await next(), 'get {}');
    await answer('get', 'accepted', { state: { desired: { a: 1 } }, version: 1 });
    t.same(settings, [{ a: 1 }]);
    t.equal(await next(), 'update {"state":{"reported":{"level":1}}}');
  }
});

t.test('a report that could not be taken for now is made again', async (t) => {
  const { client, answer, next, facts, said } = open();
  await next();
  await answer('get', 'accepted', { state: { reported: { level: 1 } }, version: 1 });
  facts.level = 2;
  client.report();
  t.equal(await next(), 'update {"state":{"reported":{"level":2}}}');
  await answer('update', 'rejected', { code: 429 });
  facts.level = 3;
  client.report();
  t.same(said, [], 'nobody knows what the gateway has');
  t.equal(await next(), 'get {}');
  await answer('get', 'accepted', { state: { reported: { level: 1 } }, version: 1 });
  t.equal(await next(), 'update {"state":{"reported":{"level":3}}}');
  await answer('update', 'rejected', { code: 413 });
  client.report();
  t.same(said, [], 'what is wrong with it would be again');
});
