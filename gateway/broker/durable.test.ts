import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { connect } from 'mqtt';
import t from 'tap';
import {
  connectService,
  openSite,
  openSiteStore,
  rawDevice,
  rawMeter,
  rawService,
  receivedBy,
} from './broker-fixture.js';
import { meter5 } from './mqtt5/mqtt5-fixture.js';

const publish = (messageId: number, qos: 1 | 2, topic = 'a', dup = false) =>
  ({ cmd: 'publish', topic, payload: `${messageId}`, qos, messageId, dup, retain: false }) as const;

/** A store whose commits wait until they are let through, or fail. */
async function gatedStore(t: import('tap').Test) {
  const store = await openSiteStore(t);
  const gate = {
    isOpen: true,
    error: undefined as Error | undefined,
    /** Which writes fail with the error; all unless said. */
    isMeant: (_write: Parameters<typeof store.commits.commit>[0]): boolean => true,
    waiting: [] as (() => void)[],
  };
  const commits = {
    isFull: false,
    room: () => Promise.resolve(),
    commit: async (write: Parameters<typeof store.commits.commit>[0]) => {
      if (gate.error !== undefined && gate.isMeant(write)) throw gate.error;
      if (!gate.isOpen) await new Promise<void>((resolve) => gate.waiting.push(resolve));
      await store.commits.commit(write);
    },
  } as unknown as typeof store.commits;
  return { store: { read: store.read, commits }, gate };
}

t.test('PUBACK and PUBREC come after the handler, never before', async (t) => {
  let finish: (() => void) | undefined;
  const site = await openSite(t, {
    handle: () => new Promise((resolve) => (finish = () => resolve(undefined))),
  });
  for (const qos of [1, 2] as const) {
    const client = await rawMeter(t, site, { clientId: `q${qos}` });
    client.send(publish(1, qos), { cmd: 'pingreq' });
    // The ping behind it is answered, so the publish was read and is held back.
    await client.packet('pingresp');
    const ack = qos === 1 ? 'puback' : 'pubrec';
    t.notOk(client.packets.some(({ cmd }) => cmd === ack));
    finish?.();
    t.ok(await client.packet(ack));
  }
});

t.test('PUBACK comes after the commit of the retained and queued copies', async (t) => {
  const { store, gate } = await gatedStore(t);
  const site = await openSite(t, { store });
  const offline = await connectService(t, site, { clientId: 'offline', clean: false });
  await offline.subscribeAsync('queued', { qos: 1 });
  await offline.endAsync();
  const cases = [
    { ...publish(1, 1, 'queued') },
    { ...publish(2, 1, 'kept'), retain: true },
    { ...publish(3, 2, 'queued') },
  ];
  const client = await rawMeter(t, site);
  for (const packet of cases) {
    gate.isOpen = false;
    const ack = packet.qos === 1 ? 'puback' : 'pubrec';
    client.send(packet, { cmd: 'pingreq' });
    await client.packet('pingresp');
    client.packets.length = 0;
    t.equal(gate.waiting.length, 1, 'one commit');
    gate.isOpen = true;
    t.notOk(client.packets.some(({ cmd }) => cmd === ack));
    for (const go of gate.waiting.splice(0)) go();
    t.match(await client.packet(ack), { messageId: packet.messageId });
  }
});

t.test(
  'what could not be stored is not acknowledged; the client is disconnected and resends',
  async (t) => {
    const { store, gate } = await gatedStore(t);
    const site = await openSite(t, { store });
    for (const qos of [1, 2] as const) {
      const client = await rawMeter(t, site);
      gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
      client.send({ ...publish(1, qos), retain: true });
      await client.closed;
      t.notOk(client.packets.some(({ cmd }) => cmd === 'puback' || cmd === 'pubrec'));
      gate.error = undefined;
    }
    const reader = await connectService(t, site, { clientId: 'reader' });
    await reader.subscribeAsync('#', { qos: 1 });
    await site.broker.publish({ topic: 'b', payload: Buffer.from('b'), qos: 1 });
    await receivedBy(reader).next(1);
    t.same(receivedBy(reader).payloads, ['b'], 'nor is it retained');
  },
);

t.test('who cannot be let in now hears no refusal, and comes back by itself', async (t) => {
  const { store, gate } = await gatedStore(t);
  const site = await openSite(t, { store });
  gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
  const older = await rawService(t, site);
  const login = { username: 'meter', password: 'secret' };
  t.equal(await older.connect({ clientId: 'raw', clean: false, ...login }), undefined);
  const newer = await meter5(t, site, { properties: { sessionExpiryInterval: 60 } });
  t.equal(newer.connack, undefined);
  for (const protocolVersion of [4, 5] as const) {
    gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
    const client = connect(`mqtt://127.0.0.1:${site.broker.ports.services ?? 0}`, {
      ...{ ...login, protocolVersion, clientId: `lasting-${protocolVersion}`, clean: false },
      ...{ reconnectPeriod: 10, properties: { sessionExpiryInterval: 60 } },
    });
    t.teardown(() => client.end(true));
    await new Promise<void>((resolve) => client.once('close', () => resolve()));
    t.notOk(client.connected);
    gate.error = undefined;
    await new Promise<void>((resolve) => client.once('connect', () => resolve()));
    t.ok(client.connected);
  }
});

t.test('a handler that says "not now" means no acknowledgement', async (t) => {
  const site = await openSite(t, {
    handle: () => Promise.reject(new HoldfastError('STORE_FULL', 'The disk is full')),
  });
  const client = await rawMeter(t, site);
  client.send(publish(1, 1));
  await client.closed;
  t.notOk(client.packets.some(({ cmd }) => cmd === 'puback'));
  const other = await rawMeter(t, site);
  other.send(
    { cmd: 'publish', topic: 'a', payload: 'x', qos: 0, dup: false, retain: false },
    { cmd: 'pingreq' },
  );
  t.ok(await other.packet('pingresp'), 'QoS 0 is not worth the connection');
});

t.test('what a handler returns is committed with the copies', async (t) => {
  const site = await openSite(t, {
    handle: async ({ topic }) => [
      {
        sql: 'INSERT INTO mqtt_subscriptions (session, filter, qos) VALUES (99, ?, 0)',
        params: [topic],
      },
    ],
  });
  const client = await connectService(t, site);
  await client.publishAsync('a', 'x', { qos: 1 });
  t.same(await site.store.read.all('SELECT filter FROM mqtt_subscriptions'), [{ filter: 'a' }]);
});

t.test('acknowledgements keep the order of the messages, however long each takes', async (t) => {
  const finish = new Map<string, () => void>();
  const site = await openSite(t, {
    handle: ({ payload }) =>
      new Promise((resolve) =>
        finish.set(Buffer.from(payload).toString(), () => resolve(undefined)),
      ),
  });
  const reader = await connectService(t, site, { clientId: 'reader' });
  await reader.subscribeAsync('#', { qos: 0 });
  const client = await rawMeter(t, site);
  client.send(publish(1, 1), publish(2, 1, 'b'), publish(3, 1), { cmd: 'pingreq' });
  await client.packet('pingresp');
  for (const one of ['3', '2', '1']) finish.get(one)?.();
  await client.packet('puback', ({ messageId }) => messageId === 3);
  const acknowledged = client.packets.flatMap((packet) =>
    packet.cmd === 'puback' ? [packet.messageId] : [],
  );
  t.same(acknowledged, [1, 2, 3]);
  await receivedBy(reader).next(3);
  t.same(receivedBy(reader).payloads, ['1', '2', '3']);
});

t.test('a QoS 2 message is handled once, however often it is sent', async (t) => {
  const site = await openSite(t);
  const client = await rawMeter(t, site, { clean: false });
  client.send(publish(7, 2), publish(7, 2, 'a', true));
  await client.packet('pubrec');
  client.send(publish(7, 2, 'a', true), { cmd: 'pingreq' });
  await client.packet('pingresp');
  t.equal(client.packets.filter(({ cmd }) => cmd === 'pubrec').length, 3);
  t.equal(site.handled.length, 1);
  client.send({ cmd: 'pubrel', messageId: 7 });
  await client.packet('pubcomp');
  client.send(publish(7, 2), { cmd: 'pingreq' });
  await client.packet('pubrec', () => site.handled.length === 2);
  t.equal(site.handled.length, 2, 'after PUBREL the packet id is free');
});

t.test(
  'a QoS 2 message is handled once over a restart, and its packet id is free after PUBREL',
  async (t) => {
    const first = await openSite(t);
    const before = await rawMeter(t, first, { clean: false });
    before.send(publish(7, 2));
    await before.packet('pubrec');
    const second = await first.restart();
    const after = await rawMeter(t, second, { clean: false });
    after.send(publish(7, 2, 'a', true));
    await after.packet('pubrec');
    t.equal(second.handled.length, 0);
    after.send({ cmd: 'pubrel', messageId: 7 });
    await after.packet('pubcomp');
    const third = await second.restart();
    const last = await rawMeter(t, third, { clean: false });
    last.send(publish(7, 2));
    await last.packet('pubrec');
    t.equal(third.handled.length, 1, 'a new message, not a repetition');
  },
);

t.test(
  'a QoS 2 message sent again over a new connection waits for the commit of the first',
  async (t) => {
    const { store, gate } = await gatedStore(t);
    const site = await openSite(t, { store });
    const first = await rawMeter(t, site, { clean: false });
    gate.isOpen = false;
    first.send(publish(7, 2), { cmd: 'pingreq' });
    await first.packet('pingresp');
    const [go] = gate.waiting.splice(0);
    gate.isOpen = true;
    const second = await rawMeter(t, site, { clean: false });
    second.send(publish(7, 2, 'a', true), { cmd: 'pingreq' });
    await second.packet('pingresp');
    t.notOk(second.packets.some(({ cmd }) => cmd === 'pubrec'));
    go?.();
    t.ok(await second.packet('pubrec'));
    t.equal(site.handled.length, 1);
  },
);

t.test('a subscription that could not be stored is none', async (t) => {
  const { store, gate } = await gatedStore(t);
  const site = await openSite(t, { store });
  const client = await rawMeter(t, site, { clean: false });
  gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] });
  await client.closed;
  t.notOk(client.packets.some(({ cmd }) => cmd === 'suback'));
  gate.error = undefined;
  const back = await rawMeter(t, site, { clean: false });
  back.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] });
  await back.packet('suback');
  t.same(await store.read.all('SELECT filter FROM mqtt_subscriptions'), [{ filter: 'a' }]);
});

t.test('QoS 2 messages without PUBREL are bounded', async (t) => {
  const site = await openSite(t, { limits: { maxInbox: 5 } });
  const client = await rawMeter(t, site);
  for (let at = 1; at <= 6; at += 1) client.send(publish(at, 2));
  await client.closed;
  t.equal(site.handled.length, 5);
});

t.test('what follows a refused publish in the same bytes is not taken', async (t) => {
  const site = await openSite(t);
  const device = await rawDevice(t, site, 'pump-1');
  await device.connect({ clientId: 'pump-1' });
  const publish = (messageId: number, topic: string) => ({
    ...{ cmd: 'publish' as const, topic, payload: 'x', qos: 1 as const, messageId },
    ...{ dup: false, retain: false },
  });
  device.send(
    publish(1, 'dt/pump-1/telemetry/before'),
    publish(2, 'dt/pump-2/telemetry/foreign'),
    publish(3, 'dt/pump-1/telemetry/after'),
  );
  await device.closed;
  t.match(site.handled, [{ topic: 'dt/pump-1/telemetry/before' }]);
  t.equal(site.handled.length, 1);
});

t.test('retained messages that could not be stored are not kept in memory either', async (t) => {
  const { store, gate } = await gatedStore(t);
  const site = await openSite(t, { store });
  const say = (text: string) =>
    site.broker.publish({ topic: 'w/x', payload: Buffer.from(text), qos: 1, retain: true });
  await say('stored');
  gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
  // Two at once, and the one before fails before the one after.
  for (const texts of [
    ['first', 'second'],
    ['', 'third'],
    ['fourth', '', 'fifth', ''],
  ]) {
    const outcomes = await Promise.allSettled(texts.map(say));
    t.ok(outcomes.every(({ status }) => status === 'rejected'));
  }
  gate.error = undefined;
  const client = await connectService(t, site);
  await client.subscribeAsync(['w/x', 'end'], { qos: 1 });
  await site.broker.publish({ topic: 'end', payload: Buffer.from('end'), qos: 1 });
  t.match(await receivedBy(client).next(2), [{ payload: 'stored' }, { payload: 'end' }]);
});

t.test('who cannot be given what is retained is cut, so that it asks again', async (t) => {
  const { store, gate } = await gatedStore(t);
  const site = await openSite(t, { store });
  await site.broker.publish({ topic: 'w/x', payload: Buffer.from('kept'), qos: 1, retain: true });
  const client = await rawMeter(t, site, { clientId: 'one', clean: false });
  gate.isMeant = (write) => JSON.stringify(write).includes('mqtt_queue');
  gate.error = new HoldfastError('STORE_FULL', 'The disk is full');
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w/#', qos: 1 }] });
  await client.closed;
  gate.error = undefined;
  const back = await connectService(t, site, { clientId: 'one', clean: false });
  await back.subscribeAsync('w/#', { qos: 1 });
  t.match(await receivedBy(back).next(1), [{ payload: 'kept' }]);
});
