/** A gateway as a program with a bus in its site.yaml, as people at the site see it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serveSimulatedUnits } from '@holdfast/devices/modbus/simulated-tcp-unit';
import { SimulatedUnit } from '@holdfast/devices/modbus/simulated-unit';
import { modbusAnswer, modbusReadAnswer } from '@holdfast/protos/local/modbus';
import t from 'tap';
import * as v from 'valibot';
import {
  askedUntil,
  enrolledFolder,
  localApi,
  quietYaml,
  startGateway,
} from '../../site-file/test-site-gateway.js';

const yaml = (port: number): string => `
modbus:
  maps:
    - name: meter
      model: M1
      registers:
        - { name: voltage, kind: input, address: 0, type: float32, unit: V, pollS: 0.2 }
        - { name: limit, kind: holding, address: 0, pollS: 0.2, writable: true, maximum: 100 }
  buses:
    - { name: cellar, tcp: "127.0.0.1:${port}", timeoutMs: 10000, units: [{ device: meter-1, unit: 1, map: meter }] }
`;

t.test('a bus of site.yaml is served, shown and written to', { timeout: 60_000 }, async (t) => {
  const unit = new SimulatedUnit({ unit: 1 });
  unit.input.set([0x4366, 0x8000]);
  const server = await serveSimulatedUnits([unit]);
  t.teardown(() => server.close());
  const folder = await enrolledFolder(t);
  const configuration = join(folder, 'site.yaml');
  await writeFile(configuration, quietYaml(yaml(server.port)));
  const gateway = await startGateway(t, folder, ['--config', configuration]);
  const ask = localApi(gateway);
  const buses = async () => v.parse(modbusAnswer, await ask('GET', '/modbus')).buses;
  const [bus] = await askedUntil(buses, ([one]) => one?.units[0]?.online === true);
  t.match(bus, { name: 'cellar', state: 'up', garbled: 0, timeouts: 0 });
  const path = '/modbus/devices/meter-1/registers?name=voltage';
  t.match(v.parse(modbusReadAnswer, await ask('GET', path)), {
    registers: [{ name: 'voltage', value: 230.5, unit: 'V' }],
  });
  const shadow = '/devices/meter-1/shadows/-';
  await ask('PATCH', shadow, { state: { desired: { limit: 42, voltage: 1 } } });
  const view = await askedUntil(
    () => ask('GET', shadow) as Promise<{ reported?: Record<string, unknown> }>,
    ({ reported }) => reported?.limit === 42 && reported.modbus_refused !== undefined,
  );
  t.match(view.reported, { modbus_refused: { voltage: 'it is not writable' } });
  t.equal(unit.holding[0], 42);
  t.match(await gateway.stop(), { code: 0 });
});
