import t from 'tap';
import {
  connectService,
  openSite,
  rawMeter,
  receivedBy,
  silent,
  streamLimits,
} from './broker-fixture.js';
import { defaultLimits } from './broker-limits.js';

/** A log that tells when a client is cut for being slow; a paused socket does not notice by itself. */
const watchCuts = () => {
  let told = (): void => undefined;
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      told = resolve;
    });
  const warn = (data: object): void => {
    if ('reason' in data && data.reason === 'SUBSCRIBER_SLOW' && 'peer' in data) told();
  };
  return { log: { ...silent, warn }, next };
};

t.test('nobody else waits for a frozen subscriber', async (t) => {
  // Whoever waited until it is cut would outlast the test.
  const site = await openSite(t, { limits: streamLimits({ drainTimeoutMs: 3_600_000 }) });
  for (const qos of [0, 1] as const) {
    const frozen = await rawMeter(t, site, { clientId: `frozen-${qos}` });
    frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w/#', qos }] });
    await frozen.packet('suback');
    frozen.socket.pause();
    const healthy = await connectService(t, site, { clientId: `healthy-${qos}` });
    await healthy.subscribeAsync('w/#', { qos });
    const publisher = await connectService(t, site, { clientId: `publisher-${qos}` });
    const payload = 'x'.repeat(60_000);
    for (let at = 0; at < 200; at += 1) {
      await publisher.publishAsync(`w/${at}`, payload, { qos: 1 });
    }
    t.equal((await receivedBy(healthy).next(200)).length, 200);
  }
});

t.test('a frozen subscriber is cut', async (t) => {
  const { log, next } = watchCuts();
  const site = await openSite(t, { log, limits: streamLimits({ drainTimeoutMs: 300 }) });
  const publisher = await connectService(t, site, { clientId: 'publisher' });
  for (const qos of [0, 1] as const) {
    const frozen = await rawMeter(t, site, { clientId: `frozen-${qos}` });
    frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w/#', qos }] });
    await frozen.packet('suback');
    let isCut = false;
    const cut = next().then(() => {
      isCut = true;
    });
    frozen.socket.pause();
    const payload = 'x'.repeat(60_000);
    while (!isCut) await publisher.publishAsync('w/x', payload, { qos: 1 });
    await cut;
  }
  t.ok(site.dropped.some(({ reason }) => reason === 'SUBSCRIBER_SLOW'));
});

t.test('a frozen persistent subscriber finds what it missed when it comes back', async (t) => {
  const { log, next } = watchCuts();
  const site = await openSite(t, { log, limits: streamLimits({ drainTimeoutMs: 300 }) });
  const frozen = await rawMeter(t, site, { clientId: 'frozen', clean: false });
  frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w/#', qos: 1 }] });
  await frozen.packet('suback');
  const cut = next();
  frozen.socket.pause();
  const publisher = await connectService(t, site, { clientId: 'publisher' });
  const payload = 'x'.repeat(60_000);
  for (let at = 0; at < 250; at += 1) await publisher.publishAsync(`w/${at}`, payload, { qos: 1 });
  await cut;
  const back = await connectService(t, site, { clientId: 'frozen', clean: false });
  const messages = await receivedBy(back).next(250);
  t.same(
    messages.map(({ topic }) => topic),
    Array.from({ length: 250 }, (_, at) => `w/${at}`),
  );
});

t.test(
  'a publisher slows down to a subscriber that is merely slower, and nothing is dropped',
  async (t) => {
    const serviceSession = { ...defaultLimits.serviceSession, maxMessages: 400, patienceMs: 5_000 };
    const site = await openSite(t, { limits: { serviceSession } });
    const slow = await rawMeter(t, site, { clientId: 'slow' });
    slow.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w', qos: 1 }] });
    await slow.packet('suback');
    const acknowledge = setInterval(() => {
      for (const packet of slow.packets.splice(0)) {
        if (packet.cmd === 'publish')
          slow.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
      }
    }, 5);
    t.teardown(() => clearInterval(acknowledge));
    const publisher = await connectService(t, site, { clientId: 'publisher' });
    await Promise.all(
      Array.from({ length: 2_000 }, (_, at) => publisher.publishAsync('w', `${at}`, { qos: 1 })),
    );
    t.same(site.dropped, []);
  },
);

t.test('a subscriber that reads and never acknowledges is waited for once, briefly', async (t) => {
  const patienceMs = 49;
  const serviceSession = { ...defaultLimits.serviceSession, maxMessages: 400, patienceMs };
  const site = await openSite(t, { limits: { serviceSession } });
  const mute = await rawMeter(t, site, { clientId: 'mute' });
  mute.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w', qos: 1 }] });
  await mute.packet('suback');
  const publisher = await connectService(t, site, { clientId: 'publisher' });
  const timers = t.capture(globalThis, 'setTimeout', globalThis.setTimeout);
  await Promise.all(
    Array.from({ length: 2_000 }, (_, at) => publisher.publishAsync('w', `${at}`, { qos: 1 })),
  );
  const waits = timers().filter(({ args: [, delayMs] }) => delayMs === patienceMs);
  timers.restore();
  t.equal(waits.length, 1);
  const dropped = site.dropped.reduce((sum, { count }) => sum + count, 0);
  t.equal(dropped, 1_600);
  t.equal(
    mute.packets.filter(({ cmd }) => cmd === 'publish').length,
    defaultLimits.serviceSession.maxInflight,
  );
});
