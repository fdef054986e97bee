import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { generate } from 'mqtt-packet';
import t from 'tap';
import { defaultLimits } from './broker-limits.js';
import { ClientStream } from './client-stream.js';
import { InflightBudget } from './inflight-budget.js';
import type { PublishRequest } from './protocol.js';
import { TurnFlush } from './turn-flush.js';

t.test('a client that is held for two reasons goes on when neither holds any more', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect(address.port, '127.0.0.1');
  const [socket] = await accepted;
  t.teardown(() => {
    client.destroy();
    server.close();
  });
  const published: PublishRequest[] = [];
  const stream = new ClientStream(
    socket,
    { budget: new InflightBudget(1_000_000), flush: new TurnFlush() },
    defaultLimits.stream,
    {
      onDrain: () => undefined,
      onCut: () => undefined,
      onFailed: () => undefined,
      onPublish: (message, done) => {
        published.push(message);
        done();
      },
    },
  );
  t.teardown(() => stream.destroy());
  const reads = (): void => {
    while (stream.read() !== null);
  };
  stream.on('readable', reads);
  client.write(
    generate({
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4 },
      ...{ clean: true, clientId: 'a', keepalive: 0 },
    }),
  );
  await once(stream, 'readable');
  const releases: (() => void)[] = [];
  for (let at = 0; at < 2; at += 1) {
    stream.hold(new Promise((resolve) => releases.push(resolve)));
  }
  stream.release();
  client.write(
    generate({ cmd: 'publish', topic: 'a', payload: 'x', qos: 0, dup: false, retain: false }),
  );
  await once(socket, 'data');
  releases[0]?.();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(published.length, 0, 'one reason is left');
  releases[1]?.();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(published.length, 1);
});
