import t from 'tap';
import { SimulatedSerialDevice } from '../simulator/simulated-serial-device.js';
import { jsonLines } from './json-lines/json-lines.js';
import { checkSerialDriver } from './serial-driver-contract.js';
import { defaultSerialDriver, serialDriver, serialDriverNames } from './serial-drivers.js';

t.test('drivers are known by their names, and only by them', async (t) => {
  for (const name of serialDriverNames) t.equal(serialDriver(name).name, name);
  t.ok(serialDriverNames.includes(defaultSerialDriver));
  t.equal(new Set(serialDriverNames).size, serialDriverNames.length);
  t.throws(() => serialDriver('morse'), {
    code: 'CONFIGURATION_INVALID',
    message: /"morse".*json-lines/,
  });
});

checkSerialDriver({
  driver: jsonLines,
  devices: [{ id: 'pump-1' }],
  refusedDevices: [{ id: 'pump-1' }, { id: 'pump-2' }],
  command: { type: 'ping', payload: null },
  desired: { any: 1 },
  farEnd: ([first]) => {
    let device: SimulatedSerialDevice | undefined;
    return {
      attach: (line) => {
        if (device !== undefined) return device.attach(line);
        const id = first?.id ?? '';
        device = new SimulatedSerialDevice({ line }, { id, telemetryIntervalMs: 20 });
        device.open();
      },
      close: () => device?.close(),
    };
  },
});
