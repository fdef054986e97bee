import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { socketClosed } from '../program/socket-closed.js';
import { WanProxy, type WanProxyOptions } from './wan-proxy.js';

const openEcho = async (t: Test): Promise<number> => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
};

const openProxy = async (
  t: Test,
  port: number,
  options: Partial<WanProxyOptions> = {},
): Promise<WanProxy> => {
  const target = () => ({ host: '127.0.0.1', port });
  const proxy = await WanProxy.open({ target, port: 0, ...options });
  t.teardown(() => proxy.close());
  return proxy;
};

t.test('passes on what both sides say, and the end of it', async (t) => {
  const proxy = await openProxy(t, await openEcho(t));
  const client = connect(proxy.port, '127.0.0.1');
  client.end('hello');
  let text = '';
  for await (const chunk of client) text += chunk;
  t.equal(text, 'hello');
  t.equal(proxy.connections, 1);
});

t.test('breaks what is open when it is cut, and refuses what comes', async (t) => {
  const proxy = await openProxy(t, await openEcho(t));
  const client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => client.destroy());
  client.write('a');
  await once(client, 'data');
  proxy.set('cut');
  await socketClosed(client);

  const late = connect(proxy.port, '127.0.0.1');
  await socketClosed(late);
  t.equal(proxy.connections, 1, 'nothing was passed on');

  proxy.set('up');
  const again = connect(proxy.port, '127.0.0.1');
  again.write('b');
  const [chunk] = await once(again, 'data');
  t.equal(String(chunk), 'b');
  again.destroy();
});

t.test('keeps what is said while it is stalled', async (t) => {
  const proxy = await openProxy(t, await openEcho(t));
  const client = connect(proxy.port, '127.0.0.1');
  client.write('a');
  await once(client, 'data');
  proxy.set('stalled');
  let heard = '';
  client.on('data', (chunk) => {
    heard += chunk;
  });
  client.write('b');
  // A second connection makes the round trip through the event loop that the first one may not.
  const other = connect(proxy.port, '127.0.0.1');
  await once(other, 'connect');
  other.destroy();
  t.equal(heard, '');
  proxy.set('up');
  await once(client, 'data');
  t.equal(heard, 'b');
  client.destroy();
});

t.test('what comes from the other side waits for the budget', async (t) => {
  const taken: number[] = [];
  const budget = { take: async (bytes: number) => void taken.push(bytes) };
  const proxy = await openProxy(t, await openEcho(t), { budget });
  const client = connect(proxy.port, '127.0.0.1');
  client.end('hello');
  let text = '';
  for await (const chunk of client) text += chunk;
  t.equal(text, 'hello');
  t.equal(
    taken.reduce((all, one) => all + one, 0),
    5,
  );
});
