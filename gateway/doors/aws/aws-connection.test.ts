/** How devices that were made for AWS IoT connect: what their SDKs put into the handshake and into CONNECT. */
import t from 'tap';
import { connectDevice, openSite, receivedBy } from '../../broker/broker-fixture.js';

/** As version 2 of the SDK has them. */
const asSdk = {
  username: '?SDK=NodeJSv2&Version=1.28.0',
  keepalive: 1_200,
  ALPNProtocols: ['x-amzn-mqtt-ca'],
};

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(`over ${version}, with its protocol offered and metrics for a user name`, async (t) => {
    const site = await openSite(t);
    const tls = { minVersion: version, maxVersion: version };
    const client = await connectDevice(t, site, 'pump-1', { ...asSdk, ...tls });
    await client.subscribeAsync('$aws/things/pump-1/shadow/get/+', { qos: 1 });
    const topic = '$aws/things/pump-1/shadow/get/accepted';
    await site.broker.publish({ topic, payload: Buffer.from('{}'), qos: 1 });
    t.match(await receivedBy(client).next(1), [{ topic, qos: 1 }]);
    await client.publishAsync('$aws/things/pump-1/shadow/get', '{}', { qos: 1 });
    t.match(site.handled, [{ identity: { kind: 'device', device: 'pump-1' } }], 'whatever name');
  });
}

t.test('the client id is the thing, or the thing, a colon and a suffix', async (t) => {
  const site = await openSite(t);
  for (const clientId of ['pump-1', 'pump-1:worker', `pump-1:${'x'.repeat(64)}`, '']) {
    const client = await connectDevice(t, site, 'pump-1', { ...asSdk, clientId });
    t.ok(client.connected, clientId);
  }
  for (const clientId of ['test-4f1c', 'pump-2', 'pump-1/worker', 'pump-1-worker']) {
    await t.rejects(
      connectDevice(t, site, 'pump-1', { ...asSdk, clientId }),
      { message: 'Connection refused: Identifier rejected' },
      clientId,
    );
  }
});
