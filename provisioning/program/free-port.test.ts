import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import t from 'tap';
import { freePorts } from './free-port.js';

t.test('ports are free, differ, and are lent to no outgoing connection', async (t) => {
  const ports = await freePorts(20);
  t.equal(new Set(ports).size, 20);
  const server = createServer().listen(ports[0], '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(client, 'connect');
  const { localPort = 0 } = client;
  client.destroy();
  server.close();
  t.ok(Math.max(...ports) < Math.min(localPort, 32_768), `${ports} and ${localPort}`);
});
