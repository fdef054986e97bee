import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t from 'tap';
import { openSite } from '../broker-fixture.js';
import { device5, meter5, pinged, publish5, subscribe5 } from './mqtt5-fixture.js';

t.test('a publish that is refused for good says why, and the connection goes on', async (t) => {
  const refused: string[] = [];
  const site = await openSite(t, {
    limits: { maxInbox: 1 },
    onRefused: ({ reason }) => refused.push(reason),
  });
  const { client } = await device5(t, site, 'pump-1');
  const own = 'dt/pump-1/telemetry/flow';
  const asked = [
    ['dt/pump-2/telemetry/flow', 1, 0x87],
    ['$SYS/x', 2, 0x87],
    [`${own}${'/x'.repeat(100)}`, 1, 0x90],
    [own, 2, undefined],
    [own, 2, 0x97],
    [own, 1, undefined],
  ] as const;
  for (const [at, [topic, qos, code]] of asked.entries()) {
    const messageId = at + 1;
    client.send(publish5({ topic, qos, messageId }));
    const answer = await client.packet(
      qos === 1 ? 'puback' : 'pubrec',
      (ack) => ack.messageId === messageId,
    );
    t.equal(answer?.reasonCode ?? undefined, code ?? answer?.reasonCode, topic.slice(0, 30));
    t.equal((answer?.reasonCode ?? 0) >= 0x80, code !== undefined);
  }
  t.equal(site.handled.length, 2);
  t.same(refused, ['TOPIC_OF_ANOTHER', 'TOPIC_RESERVED', 'TOPIC_TOO_LONG']);
  client.send(publish5({ topic: 'dt/pump-2/telemetry/flow' }));
  t.match(await client.packet('disconnect'), { reasonCode: 0x87 }, 'QoS 0 has no answer');
});

t.test('what cannot be stored is not acknowledged, and is to come again', async (t) => {
  let isFull = true;
  const site = await openSite(t, {
    handle: async () => {
      if (isFull) throw new HoldfastError('STORE_FULL', 'The disk is full');
      return undefined;
    },
  });
  for (const qos of [1, 2] as const) {
    isFull = true;
    const { client } = await meter5(t, site);
    client.send(publish5({ qos, messageId: 1 }));
    t.match(await client.packet('disconnect'), { reasonCode: 0x89 });
    await client.closed;
    t.notOk(client.packets.some(({ cmd }) => cmd === 'puback' || cmd === 'pubrec'));
    isFull = false;
    const { client: back } = await meter5(t, site);
    back.send(publish5({ qos, messageId: 1, dup: true }));
    t.ok(await back.packet(qos === 1 ? 'puback' : 'pubrec'));
  }
});

t.test(
  'QoS 2 counts once over connections, and a packet id that nobody knows is told',
  async (t) => {
    const site = await openSite(t);
    const lasting = { clean: false, properties: { sessionExpiryInterval: 60 } };
    const { client } = await meter5(t, site, lasting);
    client.send(publish5({ qos: 2, messageId: 5 }));
    await client.packet('pubrec');
    client.socket.destroy();
    const second = await site.restart();
    const { client: back } = await meter5(t, second, lasting);
    back.send(publish5({ qos: 2, messageId: 5, dup: true }));
    await back.packet('pubrec');
    t.same(second.handled, []);
    back.send({ cmd: 'pubrel', messageId: 5 }, { cmd: 'pubrel', messageId: 5 });
    await pinged(back);
    const completed = back.packets.filter(({ cmd }) => cmd === 'pubcomp');
    t.equal(completed.length, 2, 'one that is repeated is answered again');
    back.send({ cmd: 'pubrec', messageId: 77 });
    t.match(await back.packet('pubrel'), { messageId: 77, reasonCode: 0x92 });
  },
);

t.test('a payload that is said to be text is text', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site);
  const properties = { payloadFormatIndicator: true };
  client.send(publish5({ payload: Buffer.from([0xff]), qos: 1, messageId: 1, properties }));
  t.match(await client.packet('puback'), { reasonCode: 0x99 });
  client.send(publish5({ payload: 'ü', qos: 1, messageId: 2, properties }));
  t.ok(await client.packet('puback', ({ messageId }) => messageId === 2));
  t.equal(site.handled.length, 1);
});

t.test('packets are worked on in their order, a batch in one piece of bytes', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site);
  client.send(
    publish5({ payload: '1', qos: 1, messageId: 1 }),
    { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'w/#', qos: 1 }] },
    publish5({ payload: '2', qos: 1, messageId: 3 }),
    { cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['w/#'] },
    publish5({ payload: '3', qos: 2, messageId: 5 }),
    { cmd: 'pingreq' },
  );
  await pinged(client);
  await client.packet('pubrec');
  t.same(
    site.handled.map(({ payload }) => Buffer.from(payload).toString()),
    ['1', '2', '3'],
  );
  t.ok(await client.packet('unsuback'));
  t.same(await subscribe5(client, [{ topic: 'w/#' }]), [2]);
});
