/** A device on version 1 of the SDK: `thingShadow`, and `jobs` over a connection of its own. */
import sdk from 'aws-iot-device-sdk';
import { jobsOf } from './v1-jobs.js';

export const openDevice = ({ host, port, ca, cert, key, clientId, thing, clean }, tell) => {
  const settings = {
    ...{ host, port, clientId, clean, protocol: 'mqtts' },
    ...{ baseReconnectTimeMs: 100, maximumReconnectTimeMs: 500 },
    caCert: Buffer.from(ca),
    clientCert: Buffer.from(cert),
    privateKey: Buffer.from(key),
  };
  const clients = [];
  const waiting = new Map();
  let shadows;
  const settle = (token, answer) => {
    waiting.get(token)?.(answer);
    waiting.delete(token);
  };
  const open = async (client) => {
    clients.push(client);
    client.on('error', (error) => tell({ event: 'error', message: error.message }));
    await new Promise((resolve, reject) => {
      client.once('connect', resolve);
      client.once('error', reject);
    });
    return client;
  };
  const ask = (token) =>
    token === null
      ? Promise.resolve({ failed: 'another request is under way' })
      : new Promise((resolve) => waiting.set(token, resolve));
  return {
    async connect() {
      shadows = await open(sdk.thingShadow(settings, { operationTimeout: 15_000 }));
      shadows.on('close', () => tell({ event: 'interrupted' }));
      shadows.on('connect', () => tell({ event: 'resumed' }));
      shadows.on('status', (_, outcome, token, state) => settle(token, { [outcome]: state }));
      shadows.on('timeout', (_, token) => settle(token, { failed: 'timeout' }));
      shadows.on('delta', (_, message) => tell({ event: 'delta', message }));
      shadows.on('foreignStateChange', (_, operation, message) =>
        tell({ event: 'foreign', operation, message }),
      );
    },
    /** QoS 1, for deltas that come while it is away. */
    watch: (_, options) =>
      new Promise((resolve, reject) =>
        shadows.register(thing, { qos: 1, ...options }, (error, failed) =>
          error ? reject(new Error(`${error} ${JSON.stringify(failed)}`)) : resolve(),
        ),
      ),
    get: (_, token) => ask(shadows.get(thing, token)),
    update: (request) => ask(shadows.update(thing, request)),
    delete: (_, token) => ask(shadows.delete(thing, token)),
    ...jobsOf(() => open(sdk.jobs({ ...settings, clientId: `${clientId}-jobs` })), thing, tell),
    async disconnect() {
      for (const client of clients.splice(0)) {
        await new Promise((resolve) => client.end(false, resolve));
      }
    },
  };
};
