import t from 'tap';
import { deviceAtGateway } from './device-name.js';
import type { GatewayStatus } from './gateway-client.js';

const gateway = { status: async () => ({ site: 'farm' }) as GatewayStatus };

t.test('does not do at one site what was asked for another', async (t) => {
  t.equal(await deviceAtGateway(gateway, 'pump-1'), 'pump-1');
  t.equal(await deviceAtGateway(gateway, 'farm/pump-1'), 'pump-1');
  await t.rejects(deviceAtGateway(gateway, 'ship/pump-1'), {
    code: 'REQUEST_INVALID',
    message: /site farm, not of ship/,
  });
  await t.rejects(deviceAtGateway(gateway, 'pump-1', 'ship'), { code: 'REQUEST_INVALID' });
});
