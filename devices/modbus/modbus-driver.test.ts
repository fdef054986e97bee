import { checkSerialDriver } from '../serial/serial-driver-contract.js';
import { modbus } from './modbus-driver.js';
import { SimulatedUnit } from './simulated-unit.js';

const map = {
  name: 'm',
  model: 'M1',
  registers: [
    { name: 'count', kind: 'input', address: 0, pollS: 0.1 },
    { name: 'setpoint', kind: 'holding', address: 0, pollS: 0.1, writable: true },
  ],
};

const devices = [
  { id: 'meter-1', settings: { unit: 1, map } },
  { id: 'meter-2', settings: { unit: 2, map } },
];

checkSerialDriver({
  driver: modbus,
  options: { timeoutMs: 200 },
  devices,
  refusedDevices: [devices[0], { id: 'meter-3', settings: { unit: 1, map } }].flatMap(
    (device) => device ?? [],
  ),
  desired: { setpoint: 7 },
  farEnd: () => {
    const units = [1, 2].map((unit) => new SimulatedUnit({ unit }));
    return {
      attach: ({ onData, write }) => {
        onData((request) => {
          for (const unit of units) {
            // It measures something else each time.
            unit.input[0] = (unit.input[0] ?? 0) + 1;
            const answer = unit.answerRtu(request);
            if (answer !== null) write(answer);
          }
        });
      },
      close: () => undefined,
    };
  },
});
