/** A gateway as a program over a folder of its own, without a control plane, and what technicians and devices do to it; for tests and benches. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { type Database, openDatabase } from '@holdfast/provisioning/storage/database';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { generate, type Packet, parser } from 'mqtt-packet';
import { enrol } from '../faults/enrolled-site.js';

export interface Answer {
  readonly status: number;
  /** Parsed where it is JSON. */
  readonly body: Record<string, unknown>;
  readonly bytes: Buffer;
}

/** Certificate chain and key of a device as TLS options take them. */
export interface DeviceCredentials {
  readonly device: string;
  readonly serial: string;
  readonly cert: string;
  readonly key: string;
}

/** A key that a device has already, and its request for a certificate; both in PEM. */
export interface OwnKey {
  readonly csr: string;
  readonly key: string;
}

/** A TLS connection, and the ticket with which the next one may resume it. */
export interface RawConnection {
  readonly socket: TLSSocket;
  readonly isResumed: boolean;
  readonly ticket: Promise<Buffer>;
  /** Resolves when the gateway has closed it. */
  readonly closed: Promise<void>;
}

/** A gateway that is enrolled already: its folder, the fleet's root in PEM, and the operator token. */
export interface EnrolledFolder {
  readonly folder: string;
  readonly ca: string;
  readonly token: string;
}

export interface SiteUnderTest extends RunningSite {
  readonly fleet: TestFleet;
}

export interface RunningSite {
  readonly folder: string;
  /** Of the program that runs now. */
  readonly pid: number;
  port(door: 'mqtts' | 'https' | 'console'): number;
  /** Asks the people's door, as the operator; a body of bytes is sent as it is. */
  ask(method: string, path: string, body?: object | Uint8Array): Promise<Answer>;
  /** Asks the devices' door; over `agent` where one is given. */
  askAsDevice(path: string, credentials?: DeviceCredentials, agent?: Agent): Promise<Answer>;
  agent(credentials: DeviceCredentials): Agent;
  /** Enrols a device with a code that a technician makes for it, and with a key of its own where it has one. */
  enrol(device: string, own?: OwnKey): Promise<DeviceCredentials>;
  /** The same in two steps: code, key and certificate request are made, then the device asks. */
  prepare(device: string, own?: OwnKey): Promise<() => Promise<DeviceCredentials>>;
  connect(credentials: DeviceCredentials, options?: IClientOptions): MqttClient;
  /** Resolves with the handshake on the devices' port; `ticket` resumes an earlier one. */
  handshake(
    door: 'mqtts' | 'https',
    credentials: DeviceCredentials,
    ticket?: Buffer,
  ): Promise<RawConnection>;
  /** What the gateway has committed. */
  read<T>(sql: string, params?: readonly string[], file?: 'site.db' | 'telemetry.db'): Promise<T[]>;
  /** Ends the program with this signal and starts it again over the same folder. */
  restart(how: 'stop' | 'kill'): Promise<void>;
  /** The same with something in between; resolves with how long the start took until it was ready, ms. */
  whileStopped(work: () => Promise<void>, how?: 'stop' | 'kill'): Promise<number>;
  close(): Promise<void>;
}

const gateway = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));
const limitMs = 20_000;

/** `settings` are of the environment, as HOLDFAST_CERTIFICATES__RENEWING_S. */
export const openSiteUnderTest = async (
  settings: Readonly<Record<string, string>> = {},
): Promise<SiteUnderTest> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-site-'));
  const fleet = await createTestFleet();
  await enrol(fleet, folder);
  const ca = fleet.root.certificate.pem;
  return Object.assign(await runSite({ folder, ca, token: 'nobody' }, settings), { fleet });
};

/** The folder goes with it when it is closed. */
export const runSite = async (
  { folder, ca, token }: EnrolledFolder,
  settings: Readonly<Record<string, string>> = {},
): Promise<RunningSite> => {
  let child = await start(folder, settings);
  const portOf = (door: string): number => child.ports[door] ?? 0;

  const ask: SiteUnderTest['ask'] = (method, path, body) =>
    exchange(
      {
        ...{ method, path, ca, port: portOf('console') },
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      },
      body,
    );

  const site: RunningSite = {
    folder,
    get pid() {
      return child.pid;
    },
    port: portOf,
    ask,
    askAsDevice: (path, credentials, agent) =>
      exchange({
        ...{ method: 'GET', path, ca, port: portOf('https') },
        ...(agent === undefined ? tlsOf(credentials) : { agent }),
      }),
    agent: (credentials) =>
      new Agent({ ...tlsOf(credentials), ca, keepAlive: true, maxSockets: 1 }),
    enrol: async (device, own) => (await site.prepare(device, own))(),
    async prepare(device, own) {
      const made = await ask('POST', '/api/v1/claims', { device_id: device });
      const { secret } = parseClaimCode(String(made.body.code), 'device');
      const { csr, key } = own ?? (await newKey());
      return async () => {
        const answer = await exchange(
          { method: 'POST', path: '/api/v1/enroll', ca, port: portOf('https') },
          { secret, csr, model: 'pi', firmware_version: '1' },
        );
        if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
        const cert = `${String(answer.body.certificate)}${String(answer.body.site_ca)}`;
        const { serial } = parseCertificate(String(answer.body.certificate));
        return { device, serial, cert, key };
      };
    },
    connect: (credentials, options = {}) =>
      connect({
        ...tlsOf(credentials),
        ...{ ca, host: '127.0.0.1', port: portOf('mqtts'), protocol: 'mqtts' },
        ...{ clientId: credentials.device, clean: false, reconnectPeriod: 0 },
        ...options,
      }),
    async handshake(door, credentials, session) {
      const socket = connectTls({
        ...tlsOf(credentials),
        ...{ ca, host: '127.0.0.1', port: portOf(door) },
        ...(session === undefined ? {} : { session }),
      });
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.on('error', () => undefined);
      const ticket = new Promise<Buffer>((resolve) => socket.once('session', resolve));
      await once(socket, 'secureConnect');
      return { socket, isResumed: socket.isSessionReused(), ticket, closed };
    },
    read: (sql, params = [], file = 'site.db') =>
      reading(join(folder, file), (database) => database.all(sql, [...params])),
    async restart(how) {
      await (how === 'kill' ? child.kill() : child.stop());
      child = await start(folder, settings);
    },
    async whileStopped(work, how = 'stop') {
      await (how === 'kill' ? child.kill() : child.stop());
      await work();
      const begun = performance.now();
      child = await start(folder, settings);
      return performance.now() - begun;
    },
    async close() {
      await child.kill();
      await rm(folder, { recursive: true });
    },
  };
  return site;
};

/** Sends CONNECT and resolves with the packets that come until the gateway answers or closes the connection. */
export const greet = async (
  { socket, closed }: Pick<RawConnection, 'socket' | 'closed'>,
  clientId: string,
): Promise<Packet[]> => {
  const packets: Packet[] = [];
  const reader = parser();
  const answered = new Promise<void>((resolve) =>
    reader.on('packet', (packet) => {
      packets.push(packet);
      if (packet.cmd === 'connack') resolve();
    }),
  );
  socket.on('data', (chunk) => reader.parse(chunk));
  socket.write(
    generate({
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId },
      ...{ clean: false, keepalive: 30 },
    }),
  );
  await withDeadline(Promise.race([answered, closed]), limitMs, { doing: 'waiting for CONNACK' });
  return packets;
};

const start = (folder: string, settings: Readonly<Record<string, string>>): Promise<Child> =>
  startChild({
    bin: gateway,
    args: ['--data', folder, '--log-level', 'warn'],
    env: {
      HOLDFAST_LISTEN__HOST: '127.0.0.1',
      HOLDFAST_LISTEN__MQTTS_PORT: '0',
      HOLDFAST_LISTEN__HTTPS_PORT: '0',
      HOLDFAST_LISTEN__CONSOLE_PORT: '0',
      // Nobody is there, and this is not about how soon it finds out.
      HOLDFAST_LINK__FIRST_RETRY_MS: '60000',
      ...settings,
    },
    timeoutMs: 60_000,
  });

const tlsOf = (credentials: DeviceCredentials | undefined) =>
  credentials && { cert: credentials.cert, key: credentials.key };

const newKey = async (): Promise<OwnKey> => {
  const key = await createKey();
  const der = await createRequest(key, { commonName: 'whatever it says' });
  const body = Buffer.from(der).toString('base64');
  const csr = `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;
  return { csr, key: privatePem(key) };
};

const exchange = (options: object, body?: object): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', timeout: limitMs, ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        const bytes = Buffer.concat(chunks);
        const isJson = response.headers['content-type'] === 'application/json';
        const parsed: unknown = isJson ? JSON.parse(bytes.toString()) : {};
        // The gateway answers with objects alone.
        const body = parsed as Record<string, unknown>;
        resolve({ status: response.statusCode ?? 0, body, bytes });
      });
    });
    asked.once('error', reject);
    asked.end(body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body));
  });

const reading = async <T>(path: string, work: (database: Database) => Promise<T>): Promise<T> => {
  const database = await openDatabase({ path, readOnly: true });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
};
