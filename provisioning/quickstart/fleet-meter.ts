/** The simulated meter of a fleet: a unit on Modbus TCP, as a gateway's `modbus` has it. */
export const meterId = 'meter-1';

const unit = 1;
const map = {
  ...{ name: 'sdm120', model: 'SDM120' },
  registers: [
    { name: 'voltage', address: 0x00, unit: 'V', deadBand: 0.5 },
    { name: 'current', address: 0x06, unit: 'A', deadBand: 0.1 },
    { name: 'power', address: 0x0c, unit: 'W', deadBand: 10 },
    { name: 'energy', address: 0x156, unit: 'kWh', deadBand: 0.1 },
  ].map((register) => ({ kind: 'input', type: 'float32', pollS: 5, ...register })),
};

/** What the gateway is told of it. */
export const meterOfGateway = (port: number): string[] => {
  const units = [{ device: meterId, unit, map: map.name }];
  const bus = { name: 'bus-1', tcp: `127.0.0.1:${port}`, units };
  return [`--modbus.maps=${JSON.stringify([map])}`, `--modbus.buses=${JSON.stringify([bus])}`];
};

/** What its own program is. */
export const meterProgram = (port: number): string[] => [
  'modbus-simulator',
  `--modbus.port=${port}`,
  `--modbus.unit=${unit}`,
];
