import t from 'tap';
import { SimulatedSerialDevice } from '../simulator/simulated-serial-device.js';
import type { PseudoTerminal } from './pseudo-terminal.js';
import { jsonLines } from './serial-device.js';
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
  command: { type: 'ping', payload: null },
  farEnd: (id) => {
    let device: SimulatedSerialDevice | undefined;
    return {
      attach: (line: PseudoTerminal) => {
        if (device !== undefined) return device.attach(line);
        device = new SimulatedSerialDevice({ line }, { id, telemetryIntervalMs: 20 });
        device.open();
      },
      close: () => device?.close(),
    };
  },
});
