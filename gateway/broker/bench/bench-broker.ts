/**
 * The broker alone, for the bench: services listener, a handler that stores each publish as telemetry is stored, in a database of its own.
 * Prints its port; ends on SIGTERM. `bench-broker FOLDER`
 */
import { join } from 'node:path';
import { openStore } from '@holdfast/provisioning/storage/store';
import { appendTable } from '@holdfast/provisioning/storage/write';
import type { Identity } from '../../trust/identity.js';
import { openBroker } from '../broker.js';
import { brokerSchema } from '../broker-schema.js';

const folder = process.argv[2] ?? '.';
const quiet = (): void => undefined;
const log = {
  info: quiet,
  warn: (data: object, message: string) => console.error(message, data),
  error: (data: object, message: string) => console.error(message, data),
};
const telemetrySchema = `CREATE TABLE telemetry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL)`;

const store = await openStore({
  path: join(folder, 'site.db'),
  log,
  migrations: [{ version: 1, name: 'broker', sql: brokerSchema }],
});
const telemetry = await openStore({
  path: join(folder, 'telemetry.db'),
  log,
  migrations: [{ version: 1, name: 'telemetry', sql: telemetrySchema }],
});
const rows = appendTable('telemetry', ['at', 'topic', 'body']);
const service: Identity = { kind: 'service', name: 'load', publish: ['#'], subscribe: ['#'] };

const broker = await openBroker(
  {
    store,
    log,
    now: Date.now,
    identify: () => ({ kind: 'refused', reason: 'the bench has no devices' }),
    authenticateService: async () => service,
    handle: async ({ topic, payload }) => {
      await telemetry.commits.commit([{ into: rows, row: [Date.now(), topic, payload] }]);
      return undefined;
    },
  },
  { services: { port: 0 } },
);
console.log(JSON.stringify({ port: broker.ports.services }));

process.once('SIGTERM', async () => {
  await broker.close();
  await store.close();
  await telemetry.close();
});
