/**
 * The path of telemetry for the bench: broker, native door, telemetry store. The listener for services takes its clients as one device,
 * so that what is measured is all of a gateway's work but TLS. Prints its port; ends on SIGTERM. `bench-telemetry FOLDER`
 */
import { join } from 'node:path';
import { openStore } from '@holdfast/provisioning/storage/store';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { createDispatch } from '../../devices/dispatch.js';
import { openNativeDoor } from '../../doors/native/native-door.js';
import { openTelemetry } from '../../telemetry/telemetry.js';
import type { Identity } from '../../trust/identity.js';
import { openBroker } from '../broker.js';
import { brokerSchema, mqtt5Schema } from '../broker-schema.js';

const folder = process.argv[2] ?? '.';
const quiet = (): void => undefined;
const log = {
  info: quiet,
  warn: quiet,
  error: (data: object, message: string) => console.error(message, data),
};
const clock = systemClock();
const device: Identity = {
  kind: 'device',
  site: 'bench',
  device: 'bench',
  serial: '01',
  issuerSerial: '',
};
const unused = (): never => {
  throw new Error('the bench sends telemetry alone');
};

const store = await openStore({
  path: join(folder, 'site.db'),
  log,
  migrations: [{ version: 1, name: 'broker', sql: brokerSchema + mqtt5Schema }],
});
const telemetry = await openTelemetry(
  { clock, log },
  { path: join(folder, 'telemetry.db'), budgetBytes: 1_073_741_824 },
);
const dispatch = createDispatch({
  devices: {
    connected: quiet,
    disconnected: quiet,
    seen: quiet,
    learned: quiet,
    vouch: unused,
  },
  telemetry,
  shadows: { request: unused },
  updates: { asked: unused, updated: unused, reported: unused, seen: async () => undefined },
  commands: { answered: unused },
  clock,
});
const door = openNativeDoor({
  dispatch,
  shadows: { handle: unused },
  arrived: unused,
  beat: unused,
  publish: unused,
  fence: { check: quiet },
  lifecycles: { check: () => undefined },
  clock,
  log,
});
const broker = await openBroker(
  {
    store,
    log,
    clock,
    identify: () => ({ kind: 'refused', reason: 'the bench has no certificates' }),
    authenticateService: async () => device,
    handle: door.handle,
  },
  { services: { port: 0 }, limits: { connectionsPerDevice: 2_000 } },
);
console.log(JSON.stringify({ ready: true, ports: { services: broker.ports.services } }));

process.once('SIGTERM', async () => {
  await broker.close();
  await store.close();
  await telemetry.close();
  if (door.refusedMessages > 0) console.error(`${door.refusedMessages} were not understood`);
});
