import t from 'tap';
import { gatewayHost } from './server-certificate.js';

const host = (hosts: string[], listen: string): string =>
  gatewayHost({ names: { hosts }, listen: { host: listen } });

t.test('codes name the gateway as others reach it', async (t) => {
  t.equal(host(['gateway.plant.example', '10.0.0.7'], '0.0.0.0'), 'gateway.plant.example');
  t.equal(host([], '127.0.0.1'), '127.0.0.1', 'it listens there alone');
  t.equal(host([], '10.0.0.7'), '10.0.0.7');
  for (const all of ['0.0.0.0', '::']) t.not(host([], all), all);
});
