/** Whether a client is there to hear something, for what is made for it alone and goes into no queue. */
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import type { SubscribedEvent } from './broker.js';
import { connectDevice, openSite, receivedBy } from './broker-fixture.js';

for (const protocolVersion of [4, 5] as const) {
  t.test(`MQTT ${protocolVersion}: a client that is there and subscribed hears`, async (t) => {
    const subscribed: SubscribedEvent[] = [];
    const site = await openSite(t, { onSubscribed: (event) => subscribed.push(event) });
    const topic = 'devices/pump-1/command';
    const { broker } = site;
    const kept = { protocolVersion, clean: false, properties: { sessionExpiryInterval: 600 } };
    const client = await connectDevice(t, site, 'pump-1', kept);
    t.notOk(broker.hears('pump-1', topic), 'not subscribed');
    await client.subscribeAsync('devices/pump-1/#', { qos: 1 });
    await waitUntil('the subscription to be told', async () => subscribed.length > 0);
    t.same(subscribed, [{ device: 'pump-1', filter: 'devices/pump-1/#' }]);
    t.ok(broker.hears('pump-1', topic));
    t.notOk(broker.hears('pump-1', 'dt/pump-1/jobs/notify'));
    t.notOk(broker.hears('pump-2', topic));
    await broker.publish({ topic, payload: Buffer.from('now'), qos: 0, to: 'pump-1' });
    t.match(await receivedBy(client).next(1), [{ payload: 'now', qos: 0 }]);
    await client.endAsync();
    await waitUntil('the broker to notice', async () => !broker.hears('pump-1', topic));
    await broker.publish({ topic, payload: Buffer.from('never'), qos: 0, to: 'pump-1' });
    const back = await connectDevice(t, site, 'pump-1', kept);
    t.ok(broker.hears('pump-1', topic), 'its session kept the subscription');
    await broker.publish({ topic, payload: Buffer.from('again'), qos: 0, to: 'pump-1' });
    t.match(await receivedBy(back).next(1), [{ payload: 'again' }], 'and nothing waited');
  });
}
