import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectThrough, readProxy } from './connect-proxy.js';
import { openTestProxy, type TestProxyOptions } from './test-proxy.js';

const proxyFor = async (t: Test, options?: TestProxyOptions) => {
  const proxy = await openTestProxy(options);
  t.teardown(() => proxy.close());
  return proxy;
};

const greeter = async (t: Test): Promise<number> => {
  const server = createServer((socket) => socket.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
};

t.test('what goes through is the far end, from its first byte on', async (t) => {
  const port = await greeter(t);
  const { host, port: via } = await proxyFor(t, { credentials: 'anna:a b:c' });
  const socket = await connectThrough(
    { host, port: via, credentials: 'anna:a b:c' },
    { host: '127.0.0.1', port },
  );
  let text = '';
  for await (const chunk of socket) text += chunk;
  t.equal(text, 'hello');
});

t.test('says what the proxy wants, and never the password', async (t) => {
  const port = await greeter(t);
  const to = { host: '127.0.0.1', port };
  const locked = await proxyFor(t, { credentials: 'anna:right' });
  await t.rejects(connectThrough(locked, to), {
    code: 'CONNECTION_FAILED',
    message: /wants a user and password: link\.proxyCredentialsFile/,
  });
  const error = await connectThrough({ ...locked, credentials: 'anna:wr0ng' }, to).catch((e) => e);
  t.match(error.message, /does not accept the user and password/);
  t.notMatch(`${JSON.stringify(error)}${error.stack}`, /wr0ng/);
  const strict = await proxyFor(t, { allowedPorts: [443] });
  await t.rejects(connectThrough(strict, to), { message: /does not allow CONNECT to .* \(403\)/ });
  const nobody = await openTestProxy();
  await nobody.close();
  await t.rejects(connectThrough(nobody, to), { message: /does not answer/ });
  await t.rejects(connectThrough(await proxyFor(t), { host: '127.0.0.1', port: 1 }), {
    message: /could not reach 127\.0\.0\.1:1 \(502\)/,
  });
});

t.test('reads the proxy and its password from where they may stand', async (t) => {
  const folder = t.testdir({ good: 'anna:secret:with:colons\n', bad: 'anna\n' });
  const proxy = 'http://proxy.example:3128';
  t.equal(await readProxy({}), undefined);
  t.same(await readProxy({ proxy }), { host: 'proxy.example', port: 3128 });
  t.same(await readProxy({ proxy: 'http://[::1]' }), { host: '::1', port: 80 });
  t.match(await readProxy({ proxy, proxyCredentialsFile: join(folder, 'good') }), {
    credentials: 'anna:secret:with:colons',
  });
  const wrong = { code: 'CONFIGURATION_INVALID' };
  await t.rejects(readProxy({ proxy, proxyCredentialsFile: join(folder, 'bad') }), wrong);
  await t.rejects(readProxy({ proxy, proxyCredentialsFile: join(folder, 'none') }), wrong);
  await t.rejects(readProxy({ proxy: 'proxy.example:3128' }), wrong);
  await t.rejects(readProxy({ proxy: 'https://proxy.example' }), wrong);
  const error = await readProxy({ proxy: 'http://anna:pa55@proxy.example' }).catch((e) => e);
  t.match(error.message, /proxyCredentialsFile/);
  t.notMatch(error.message, /pa55/);
});
