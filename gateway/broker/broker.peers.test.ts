import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { openSite } from './broker-fixture.js';
import { filesOf, mosquittoArguments } from './foreign-clients.js';

const run = promisify(execFile);

t.test('mosquitto_pub and mosquitto_sub work with a device certificate', async (t: Test) => {
  const site = await openSite(t);
  const device = await mosquittoArguments(site, 'pump-1');
  for (const qos of ['0', '1', '2']) {
    await run('mosquitto_pub', [...device, '-q', qos, '-t', 'dt/pump-1/telemetry/flow', '-m', qos]);
  }
  t.same(
    site.handled.map(({ payload, qos }) => [Buffer.from(payload).toString(), qos]),
    [
      ['0', 0],
      ['1', 1],
      ['2', 2],
    ],
  );
  await site.broker.publish({
    topic: 'dt/pump-1/commands/c',
    payload: Buffer.from('now'),
    qos: 1,
    retain: true,
  });
  const got = await run('mosquitto_sub', [
    ...device,
    '-q',
    '1',
    '-t',
    'dt/pump-1/#',
    '-C',
    '1',
    '-W',
    '10',
    '-v',
  ]);
  t.equal(got.stdout, 'dt/pump-1/commands/c now\n');
  const other = await run('mosquitto_sub', [...device, '-t', 'dt/pump-2/#', '-C', '1', '-W', '10']);
  t.match(`${other.stdout}${other.stderr}`, 'All subscription requests were denied');
});

const paho = `
import sys, paho.mqtt.client as mqtt
host, port, ca, cert, key = sys.argv[1:6]
client = mqtt.Client(client_id="pump-1:paho", clean_session=False)
client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
def on_connect(client, userdata, flags, code):
    print("connected", code, flush=True)
    client.subscribe("dt/pump-1/commands/#", 2)
def on_subscribe(client, userdata, message_id, granted):
    print("granted", *granted, flush=True)
    client.publish("dt/pump-1/telemetry/flow", "1.5", 2)
def on_publish(client, userdata, message_id):
    print("published", flush=True)
def on_message(client, userdata, message):
    print("message", message.topic, message.qos, message.payload.decode(), flush=True)
    client.disconnect()
client.on_connect, client.on_subscribe = on_connect, on_subscribe
client.on_publish, client.on_message = on_publish, on_message
client.connect(host, int(port))
client.loop_forever()
`;

t.test("Python's paho works with a device certificate", async (t) => {
  const site = await openSite(t);
  const { ca, cert, key } = await filesOf(site, 'pump-1');
  const port = `${site.broker.ports.mqtts ?? 0}`;
  // Debian's own interpreter: the package python3-paho-mqtt belongs to it.
  const python = spawn('/usr/bin/python3', ['-c', paho, '127.0.0.1', port, ca, cert, key], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(python, 'exit');
  const said: string[] = [];
  for await (const line of createInterface(python.stdout)) {
    said.push(line);
    if (line !== 'published') continue;
    const topic = 'dt/pump-1/commands/c';
    await site.broker.publish({ topic, payload: Buffer.from('go'), qos: 2 });
  }
  t.same(said, ['connected 0', 'granted 2', 'published', 'message dt/pump-1/commands/c 2 go']);
  t.same(await exit, [0, null]);
  t.match(site.handled, [{ topic: 'dt/pump-1/telemetry/flow', qos: 2 }]);
});
