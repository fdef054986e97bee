import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { freePort } from './free-port.js';
import { portHolder } from './port-holder.js';
import { openingPorts } from './port-settings.js';

const listen = async (port: number, host = '127.0.0.1') => {
  const server = createServer().listen(port, host);
  await once(server, 'listening');
  return server;
};

t.test('a taken port names its setting and who has it', async (t) => {
  const taken = await listen(0);
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const ports = { 'listen.mqttsPort': 1, 'listen.httpsPort': port };
  await t.rejects(
    openingPorts(ports, () => listen(port)),
    {
      code: 'PORT_UNAVAILABLE',
      message: new RegExp(
        `^listen\\.httpsPort: port ${port} is taken by .+ \\(process ${process.pid}\\)$`,
      ),
      data: { setting: 'listen.httpsPort', next: /another port with listen\.httpsPort/ },
    },
  );
});

t.test('an address of another machine is told apart', async (t) => {
  await t.rejects(
    openingPorts({ 'listen.httpsPort': 0 }, () => listen(0, '192.0.2.1')),
    {
      code: 'PORT_UNAVAILABLE',
      message: /does not have that address/,
      data: { next: /0\.0\.0\.0/ },
    },
  );
});

t.test('what else goes wrong passes through', async (t) => {
  await t.rejects(
    openingPorts({}, async () => {
      throw new Error('EACCES: permission denied, open');
    }),
    { message: 'EACCES: permission denied, open' },
  );
});

t.test('a port that nobody has has no holder', async (t) => {
  const port = await freePort();
  const server = await listen(port);
  t.match(await portHolder(port), { pid: process.pid });
  server.close();
  await once(server, 'close');
  t.equal(await portHolder(port), undefined);
});
