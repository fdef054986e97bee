/**
 * The broker that the kill tests kill: `broker.victim FOLDER PORT`. It notes every message it handles in the site's database; QoS 2 in the
 * broker's own commit, QoS 1 in one before it, as doors do.
 */
import { join } from 'node:path';
import { openStore } from '@holdfast/provisioning/storage/store';
import { systemClock } from '@holdfast/provisioning/time/clock';
import type { Identity } from '../trust/identity.js';
import { openBroker } from './broker.js';
import { brokerSchema, mqtt5Schema } from './broker-schema.js';

const [folder = '.', port = '0'] = process.argv.slice(2);
const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
const store = await openStore({
  path: join(folder, 'site.db'),
  log,
  migrations: [
    { version: 1, name: 'broker', sql: brokerSchema + mqtt5Schema },
    { version: 2, name: 'handled', sql: 'CREATE TABLE handled (body TEXT NOT NULL)' },
  ],
});
// The rig is shown able to fail: without it, a killed process loses nothing that the kernel has; with it, what waits in the queue.
if (process.env.HOLDFAST_TEST_ACKNOWLEDGE_EARLY === '1') {
  const { commits } = store;
  const commit = commits.commit.bind(commits);
  commits.commit = async (write) => {
    void new Promise((resolve) => setTimeout(resolve, 30)).then(() => commit(write));
  };
}
const service: Identity = { kind: 'service', name: 'tester', publish: ['#'], subscribe: ['#'] };

await openBroker(
  {
    store,
    log,
    clock: systemClock(),
    identify: () => ({ kind: 'refused', reason: 'no devices here' }),
    authenticateService: async () => service,
    handle: async ({ payload, qos }) => {
      const body = Buffer.from(payload).toString();
      const note = [{ sql: 'INSERT INTO handled VALUES (?)', params: [body] }];
      if (qos === 2) return note;
      await store.commits.commit(note);
      return undefined;
    },
  },
  { services: { port: Number(port) } },
);
console.log('ready');
