/** A gateway as a program with a bus in its site.yaml, as people at the site see it. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { serveSimulatedUnits } from '@holdfast/devices/modbus/simulated-tcp-unit';
import { SimulatedUnit } from '@holdfast/devices/modbus/simulated-unit';
import { modbusAnswer, modbusReadAnswer } from '@holdfast/protos/local/modbus';
import type { Child } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import * as v from 'valibot';
import { enrolledFolder, quietYaml, startGateway } from '../../site-file/test-site-gateway.js';

const yaml = (port: number): string => `
modbus:
  maps:
    - name: meter
      model: M1
      registers:
        - { name: voltage, kind: input, address: 0, type: float32, unit: V, pollS: 0.2 }
        - { name: limit, kind: holding, address: 0, pollS: 0.2, writable: true, maximum: 100 }
  buses:
    - { name: cellar, tcp: "127.0.0.1:${port}", units: [{ device: meter-1, unit: 1, map: meter }] }
`;

const ask = async ({ ports }: Child, method: string, path: string, body?: object) => {
  const asked = request({
    ...{ host: '127.0.0.1', port: ports.console, method, path: `/api/v1${path}` },
    headers: { authorization: 'Bearer nobody', 'content-type': 'application/json' },
    rejectUnauthorized: false,
    agent: false,
  });
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${text}`);
  return JSON.parse(text) as unknown;
};

/** Asked again and again: nobody tells when something has come. */
const until = async <T>(ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> => {
  let answer = await ask();
  const isDone = async (): Promise<boolean> => {
    answer = await ask();
    return isSo(answer);
  };
  await waitUntil('what is asked for', isDone, { everyMs: 50, deadlineMs: 30_000 });
  return answer;
};

t.test('a bus of site.yaml is served, shown and written to', { timeout: 60_000 }, async (t) => {
  const unit = new SimulatedUnit({ unit: 1 });
  unit.input.set([0x4366, 0x8000]);
  const server = await serveSimulatedUnits([unit]);
  t.teardown(() => server.close());
  const folder = await enrolledFolder(t);
  const configuration = join(folder, 'site.yaml');
  await writeFile(configuration, quietYaml(yaml(server.port)));
  const gateway = await startGateway(t, folder, ['--config', configuration]);
  const buses = async () => v.parse(modbusAnswer, await ask(gateway, 'GET', '/modbus')).buses;
  const [bus] = await until(buses, ([one]) => one?.units[0]?.online === true);
  t.match(bus, { name: 'cellar', state: 'up', garbled: 0, timeouts: 0 });
  const path = '/modbus/devices/meter-1/registers?name=voltage';
  t.match(v.parse(modbusReadAnswer, await ask(gateway, 'GET', path)), {
    registers: [{ name: 'voltage', value: 230.5, unit: 'V' }],
  });
  const shadow = '/devices/meter-1/shadows/-';
  await ask(gateway, 'PATCH', shadow, { state: { desired: { limit: 42, voltage: 1 } } });
  const view = await until(
    () => ask(gateway, 'GET', shadow) as Promise<{ reported?: Record<string, unknown> }>,
    ({ reported }) => reported?.limit === 42 && reported.modbus_refused !== undefined,
  );
  t.match(view.reported, { modbus_refused: { voltage: 'it is not writable' } });
  t.equal(unit.holding[0], 42);
  t.match(await gateway.stop(), { code: 0 });
});
