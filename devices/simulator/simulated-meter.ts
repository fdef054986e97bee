/** An energy meter behind a TCP port, as a program: registers as an Eastron SDM120 has them, whose measurements move. For demos. */
import { serveSimulatedUnits } from '../modbus/simulated-tcp-unit.js';
import { SimulatedUnit } from '../modbus/simulated-unit.js';

export interface SimulatedMeterOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly unit: number;
}

export interface SimulatedMeter {
  readonly port: number;
  close(): Promise<void>;
}

/** Where each stands: IEEE 754 in two input registers, the higher one first. */
const addresses = { voltage: 0x00, current: 0x06, power: 0x0c, energy: 0x156 } as const;
const everyMs = 1_000;

export const openSimulatedMeter = async ({
  port,
  unit: number,
}: SimulatedMeterOptions): Promise<SimulatedMeter> => {
  const unit = new SimulatedUnit({ unit: number });
  let [turn, energyWh] = [0, 1_234_500];
  const measure = (): void => {
    const voltage = 230 + 2 * Math.sin(turn / 30);
    const current = 3 + 2 * Math.sin(turn / 12);
    const power = voltage * current;
    energyWh += (power * everyMs) / 3_600_000;
    turn += 1;
    const values = { voltage, current, power, energy: energyWh / 1_000 };
    for (const name of Object.keys(addresses) as (keyof typeof addresses)[]) {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatBE(values[name]);
      unit.input.set([bytes.readUInt16BE(0), bytes.readUInt16BE(2)], addresses[name]);
    }
  };
  measure();
  const server = await serveSimulatedUnits([unit], { port });
  const measuring = setInterval(measure, everyMs);
  return {
    port: server.port,
    close: async () => {
      clearInterval(measuring);
      await server.close();
    },
  };
};
