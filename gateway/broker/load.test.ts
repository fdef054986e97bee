import { generate } from 'mqtt-packet';
import t from 'tap';
import {
  connectDevice,
  connectService,
  openSite,
  rawMeter,
  rawService,
  receivedBy,
} from './broker-fixture.js';
import { InflightBudget } from './inflight-budget.js';

t.test('a flood whose subscriber disconnects does not end the broker', async (t) => {
  const site = await openSite(t);
  for (const qos of [0, 1] as const) {
    const subscriber = await rawMeter(t, site, { clientId: 'subscriber' });
    subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos }] });
    await subscriber.packet('suback');
    const publishers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => rawMeter(t, site, { clientId: `p${at}` })),
    );
    const before = site.handled.length;
    for (const { socket } of publishers) {
      const flood = Array.from({ length: 2_000 }, (_, at) =>
        generate({
          cmd: 'publish',
          topic: 'a/b',
          payload: 'x'.repeat(100),
          qos,
          messageId: at + 1,
          dup: false,
          retain: false,
        }),
      );
      socket.write(Buffer.concat(flood));
    }
    await subscriber.packet('publish');
    subscriber.socket.destroy();
    for (const publisher of publishers) {
      publisher.send({ cmd: 'pingreq' });
      await publisher.packet('pingresp');
    }
    t.equal(site.handled.length - before, 40_000);
    for (const publisher of publishers) publisher.socket.destroy();
  }
  const last = await connectService(t, site, { clientId: 'last' });
  await last.subscribeAsync('z', { qos: 1 });
  await last.publishAsync('z', 'alive', { qos: 1 });
  t.match(await receivedBy(last).next(1), [{ payload: 'alive' }]);
});

t.test('what is being worked on is bounded over all clients together', async (t) => {
  const limit = 100_000;
  let pending = 0;
  let most = 0;
  const site = await openSite(t, {
    limits: { maxInflightBytes: limit },
    handle: async ({ payload }) => {
      pending += payload.length;
      most = Math.max(most, pending);
      await new Promise((resolve) => setImmediate(resolve));
      pending -= payload.length;
      return undefined;
    },
  });
  const publishers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => rawMeter(t, site, { clientId: `p${at}` })),
  );
  for (const publisher of publishers) {
    for (let at = 1; at <= 100; at += 1) {
      publisher.send({
        cmd: 'publish',
        topic: 'a',
        payload: 'x'.repeat(5_000),
        qos: 1,
        messageId: at,
        dup: false,
        retain: false,
      });
    }
  }
  for (const publisher of publishers)
    await publisher.packet('puback', ({ messageId }) => messageId === 100);
  t.ok(most <= limit, `${most} bytes at most`);
  t.ok(most > limit / 2, 'and the budget is used');
});

t.test('a budget serves all who wait and never recurses', async (t) => {
  const budget = new InflightBudget(10);
  let served = 0;
  const holders = Array.from({ length: 20_000 }, () => ({}));
  await new Promise<void>((resolve) => {
    const work = (holder: object): void => {
      if (!budget.take(holder, 10, () => work(holder))) return;
      served += 1;
      budget.give(10);
      if (served === holders.length) resolve();
    };
    budget.take(budget, 10, () => undefined);
    for (const holder of holders) work(holder);
    budget.give(10);
  });
  t.equal(budget.usedBytes, 0);
});

t.test('devices that come back all at once are let in one after the other', async (t) => {
  const site = await openSite(t, {
    limits: { doorman: { maxEntering: 4, maxWaiting: 1_000, waitTimeoutMs: 20_000 } },
  });
  const early = await connectDevice(t, site, 'early');
  const devices = Array.from({ length: 60 }, (_, at) => `d${at}`);
  const coming = Promise.all(devices.map((device) => connectDevice(t, site, device)));
  await early.publishAsync('dt/early/telemetry/x', '1', { qos: 1 });
  t.ok(site.broker.connectedDevices().length < 61, 'served while others wait at the door');
  await coming;
  t.equal(site.broker.connectedDevices().length, 61);
});

t.test('who finds the waiting room full is turned away at once', async (t) => {
  const site = await openSite(t, {
    limits: { doorman: { maxEntering: 1, maxWaiting: 1, waitTimeoutMs: 50 } },
  });
  const entering = await rawService(t, site);
  const waiting = await rawService(t, site);
  const turnedAway = await rawService(t, site);
  await turnedAway.closed;
  await waiting.closed;
  t.equal(await entering.connect({ clientId: 'in', username: 'meter', password: 'secret' }), 0);
});
