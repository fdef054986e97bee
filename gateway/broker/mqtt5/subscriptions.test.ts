import t from 'tap';
import { openSite } from '../broker-fixture.js';
import {
  device5,
  leave,
  lose,
  meter5,
  pinged,
  publish5,
  published,
  publishes,
  subscribe5,
} from './mqtt5-fixture.js';

const retained = (topic: string, text: string) => ({
  ...{ topic, payload: Buffer.from(text), qos: 1 as const, retain: true },
});

t.test('answers each filter with its own reason', async (t) => {
  const site = await openSite(t, { limits: { subscriptionsPerSession: 3 } });
  const { client } = await meter5(t, site);
  t.same(
    await subscribe5(client, [
      { topic: 'a', qos: 0 },
      { topic: 'b', qos: 1 },
      { topic: '$SYS/#' },
      { topic: 'a/#/b' },
      { topic: 'c', qos: 2 },
      { topic: 'd' },
    ]),
    [0, 1, 0x87, 0x8f, 2, 0x97],
  );
  const device = await device5(t, site, 'pump-1');
  t.same(
    await subscribe5(device.client, [
      { topic: 'dt/pump-2/#' },
      { topic: '$share/g/dt/pump-1/#' },
      { topic: 'dt/pump-1/#' },
    ]),
    [0x87, 0x9e, 2],
  );
  client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['a', 'x'] });
  t.same((await client.packet('unsuback'))?.granted, [0, 0x11]);
});

t.test('no local: what a client says itself does not come back to it', async (t) => {
  const site = await openSite(t);
  const { client: one } = await meter5(t, site, { clientId: 'one' });
  const { client: two } = await meter5(t, site, { clientId: 'two' });
  for (const client of [one, two]) await subscribe5(client, [{ topic: 'w/#', nl: true }]);
  one.send(publish5({ payload: 'of one' }));
  two.send(publish5({ payload: 'of two' }));
  await published(one, 'of two');
  await published(two, 'of one');
  await pinged(one);
  await pinged(two);
  t.equal(publishes(one).length, 1);
  t.equal(publishes(two).length, 1);
  await subscribe5(one, [{ topic: 'w/+', qos: 0 }]);
  one.send(publish5({ payload: 'again', qos: 1, messageId: 1 }));
  t.match(await published(one, 'again'), { qos: 0 }, 'by another subscription it does');
});

t.test('the retain flag stays where it is asked for', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site);
  await subscribe5(client, [{ topic: 'w/as', rap: true }, { topic: 'w/not' }]);
  for (const topic of ['w/as', 'w/not']) {
    await site.broker.publish(retained(topic, topic));
    await site.broker.publish({ ...retained(topic, `${topic} live`), retain: false });
  }
  await published(client, 'w/not live');
  t.same(
    publishes(client).map(({ payload, retain }) => [payload.toString(), retain]),
    [
      ['w/as', true],
      ['w/as live', false],
      ['w/not', false],
      ['w/not live', false],
    ],
  );
});

t.test('retained messages come always, with a new subscription alone, or never', async (t) => {
  const site = await openSite(t);
  await site.broker.publish(retained('w/x', 'kept'));
  const { client } = await meter5(t, site);
  const counts: number[] = [];
  for (const rh of [2, 1, 0, 0] as const) {
    await subscribe5(client, [{ topic: 'w/#', rh }]);
    await pinged(client);
    counts.push(publishes(client).length);
  }
  await subscribe5(client, [{ topic: 'w/+', rh: 1 }]);
  await pinged(client);
  t.same([...counts, publishes(client).length], [0, 0, 1, 2, 3]);
});

t.test('identifiers of all subscriptions that match come with a message', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site, { properties: { sessionExpiryInterval: 60 } });
  await site.broker.publish(retained('w/r', 'kept'));
  await subscribe5(client, [{ topic: 'w/#' }], { identifier: 268_435_455 });
  await subscribe5(client, [{ topic: 'w/x' }], { identifier: 2 });
  await subscribe5(client, [{ topic: 'w/+' }], {});
  const idsOf = async (text: string) =>
    [(await published(client, text))?.properties?.subscriptionIdentifier].flat().sort();
  t.same(await idsOf('kept'), [268_435_455]);
  await site.broker.publish({ ...retained('w/x', 'both'), retain: false });
  t.same(await idsOf('both'), [2, 268_435_455]);
  await subscribe5(client, [{ topic: 'w/x' }], { identifier: 3 });
  await site.broker.publish({ ...retained('w/x', 'changed'), retain: false });
  t.same(await idsOf('changed'), [268_435_455, 3]);
});

t.test('options and identifiers are there after a restart', async (t) => {
  const site = await openSite(t);
  const properties = { sessionExpiryInterval: 60 };
  const { client } = await meter5(t, site, { clean: false, properties });
  await subscribe5(client, [{ topic: 'w/#', qos: 1, nl: true, rap: true }], { identifier: 7 });
  await leave(client);
  await site.broker.publish(retained('w/x', 'queued'));
  const second = await site.restart();
  const { client: back } = await meter5(t, second, { clean: false, properties });
  await second.broker.publish(retained('w/x', 'live'));
  back.send(publish5({ payload: 'own' }));
  for (const text of ['queued', 'live']) {
    const got = await published(back, text);
    t.match(got, { retain: true, properties: { subscriptionIdentifier: 7 } }, text);
  }
  await pinged(back);
  t.equal(publishes(back).length, 2);
  await lose(back);
});

t.test(
  'a session that comes back with fewer rights has no subscriptions beyond them',
  async (t) => {
    let subscribe = ['#'];
    const site = await openSite(t, {
      authenticateService: async () => ({ kind: 'service', name: 'meter', publish: [], subscribe }),
    });
    const lasting = { clean: false, properties: { sessionExpiryInterval: 60 } };
    const { client } = await meter5(t, site, lasting);
    await subscribe5(client, [{ topic: 'w/#' }, { topic: '$share/g/w/#' }, { topic: 'v/x' }]);
    await leave(client);
    subscribe = ['v/#'];
    t.match((await meter5(t, site, lasting)).connack, { sessionPresent: true });
    t.same(await site.store.read.all('SELECT filter FROM mqtt_subscriptions'), [{ filter: 'v/x' }]);
    t.equal(site.broker.isHeard('w/x'), false);
  },
);

t.test('what breaks the protocol in a SUBSCRIBE ends the connection', async (t) => {
  const site = await openSite(t);
  for (const [hex, code] of [
    ['820700010000016130', 0x82], // retain handling 3
    ['820700010000016180', 0x81], // reserved bits
    ['820700010000016103', 0x81], // QoS 3
    ['8203000100', 0x82], // no filter
    ['8209000102 0b00 00016100'.replaceAll(' ', ''), 0x82], // identifier 0
    ['8212000100 000c 2473686172652f672f77 2f78 04'.replaceAll(' ', ''), 0x82], // a shared one, no local
    ['82070000000001 6100'.replaceAll(' ', ''), 0x82], // packet id 0
  ] as const) {
    const { client } = await meter5(t, site);
    client.socket.write(Buffer.from(hex, 'hex'));
    t.match(await client.packet('disconnect'), { reasonCode: code }, hex);
  }
});
