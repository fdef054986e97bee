/** What the broker's tests share: a broker over real TLS, real SQLite and real sockets, and clients of it. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { verifyPeer } from '@holdfast/provisioning/pki/tls-peer';
import { openStore, type Store } from '@holdfast/provisioning/storage/store';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { generate, type Packet, parser } from 'mqtt-packet';
import type { Test } from 'tap';
import type { Identity, Refusal } from '../trust/identity.js';
import {
  type Broker,
  type BrokerDependencies,
  type BrokerOptions,
  type DropEvent,
  type InboundMessage,
  openBroker,
  type SessionEvent,
} from './broker.js';
import { defaultLimits } from './broker-limits.js';
import { brokerSchema, mqtt5Schema } from './broker-schema.js';

export const silent = {
  info: (): void => undefined,
  warn: (): void => undefined,
  error: (): void => undefined,
};

export async function folderOf(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A store with the broker's tables, closed with the test. */
export async function openSiteStore(t: Test, folder?: string): Promise<Store> {
  const path = join(folder ?? (await folderOf(t)), 'site.db');
  const store = await openStore({
    path,
    log: silent,
    migrations: [{ version: 1, name: 'broker', sql: brokerSchema + mqtt5Schema }],
  });
  t.teardown(() => store.close());
  return store;
}

export interface Site {
  readonly folder: string;
  readonly fleet: TestFleet;
  readonly store: Store;
  readonly broker: Broker;
  readonly handled: InboundMessage[];
  readonly sessions: SessionEvent[];
  readonly dropped: DropEvent[];
  /** Ends this run, as a stop of the program would, and starts the next over the same folder. */
  restart(): Promise<Site>;
  close(): Promise<void>;
}

export type SiteOverrides = Partial<BrokerDependencies> & {
  readonly limits?: BrokerOptions['limits'];
};

/** The one service there is. */
export const service: Identity = {
  kind: 'service',
  name: 'meter',
  publish: ['#'],
  subscribe: ['#'],
};

export async function openSite(
  t: Test,
  overrides: SiteOverrides = {},
  earlier?: { readonly folder: string; readonly fleet: TestFleet },
): Promise<Site> {
  const folder = earlier?.folder ?? (await folderOf(t));
  const fleet = earlier?.fleet ?? (await createTestFleet());
  const store = await openSiteStore(t, folder);
  const handled: InboundMessage[] = [];
  const sessions: SessionEvent[] = [];
  const dropped: DropEvent[] = [];
  const { tls } = await fleet.gatewayServer('gateway-1');
  const { limits, ...dependencies } = overrides;
  const broker = await openBroker(
    {
      store,
      log: silent,
      clock: systemClock(),
      identify: (socket) => identify(socket, fleet),
      authenticateService: async (user, password) =>
        user === 'meter' && Buffer.from(password).toString() === 'secret' ? service : undefined,
      handle: async (message) => {
        handled.push(message);
        return undefined;
      },
      onSession: (event) => sessions.push(event),
      onDropped: (event) => dropped.push(event),
      ...dependencies,
    },
    {
      mqtts: { host: '127.0.0.1', port: 0, tls },
      services: { port: 0 },
      ...(limits === undefined ? {} : { limits }),
    },
  );
  const close = async (): Promise<void> => {
    await broker.close();
    await store.close();
  };
  t.teardown(close);
  const site = { folder, fleet, store, broker, handled, sessions, dropped, close };
  return {
    ...site,
    restart: async () => {
      await close();
      return openSite(t, overrides, site);
    },
  };
}

const identify = (socket: TLSSocket, fleet: TestFleet): Identity | Refusal => {
  try {
    const { root, site, now } = fleet;
    const peer = verifyPeer(socket, { root: root.certificate, role: 'device', at: now, site });
    const { name: device, serial, issuerSerial } = peer;
    return { kind: 'device', site, device, serial, issuerSerial };
  } catch (error) {
    return { kind: 'refused', reason: messageOf(error) };
  }
};

/** A device with its certificate; the client id is the device's unless given. */
export async function connectDevice(
  t: Test,
  site: Site,
  device: string,
  options: IClientOptions = {},
): Promise<MqttClient> {
  const { tls } = await site.fleet.device(device);
  return connectClient(t, `mqtts://127.0.0.1:${site.broker.ports.mqtts ?? 0}`, {
    ca: site.fleet.root.certificate.pem,
    clientId: device,
    ...tls,
    ...options,
  });
}

export const connectService = (
  t: Test,
  site: Site,
  options: IClientOptions = {},
): Promise<MqttClient> =>
  connectClient(t, `mqtt://127.0.0.1:${site.broker.ports.services ?? 0}`, {
    clientId: 'meter-1',
    username: 'meter',
    password: 'secret',
    ...options,
  });

async function connectClient(t: Test, url: string, options: IClientOptions): Promise<MqttClient> {
  const client = connect(url, { reconnectPeriod: 0, connectTimeout: 20_000, ...options });
  t.teardown(() => client.end(true));
  received.set(client, new Received(client));
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
    client.once('close', () => reject(new Error('the connection was closed')));
  });
  client.on('error', () => undefined);
  return client;
}

const received = new WeakMap<MqttClient, Received>();

/** What a client has received from its first byte on. */
export const receivedBy = (client: MqttClient): Received =>
  received.get(client) ?? new Received(client);

export class Received {
  readonly messages: {
    topic: string;
    payload: string;
    qos: number;
    retain: boolean;
    dup: boolean;
  }[] = [];
  #wake: (() => void) | undefined;

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, { qos, retain, dup }) => {
      this.messages.push({ topic, payload: payload.toString(), qos, retain, dup });
      this.#wake?.();
    });
  }

  /** All of them, once n have come. */
  async next(count: number): Promise<Received['messages']> {
    while (this.messages.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.messages;
  }

  get payloads(): string[] {
    return this.messages.map(({ payload }) => payload);
  }
}

/** A client that sends any bytes it likes. */
export class RawClient {
  readonly socket: Socket;
  readonly packets: Packet[] = [];
  readonly closed: Promise<void>;
  #wake: (() => void) | undefined;
  #isClosed = false;
  readonly #options: { readonly protocolVersion: 4 | 5 };

  constructor(socket: Socket, protocolVersion: 4 | 5 = 4) {
    this.socket = socket;
    this.#options = { protocolVersion };
    const reader = parser(this.#options);
    reader.on('packet', (packet) => {
      this.packets.push(packet);
      this.#wake?.();
    });
    socket.on('data', (chunk) => reader.parse(chunk));
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true;
        this.#wake?.();
        resolve();
      });
    });
  }

  send(...packets: Packet[]): void {
    this.socket.write(Buffer.concat(packets.map((packet) => generate(packet, this.#options))));
  }

  /** The first packet of this kind, now or later; undefined when the connection closes without one. */
  async packet<C extends Packet['cmd']>(
    cmd: C,
    isMeant: (packet: Extract<Packet, { cmd: C }>) => boolean = () => true,
  ): Promise<Extract<Packet, { cmd: C }> | undefined> {
    for (;;) {
      for (const packet of this.packets) {
        const one = packet as Extract<Packet, { cmd: C }>;
        if (packet.cmd === cmd && isMeant(one)) return one;
      }
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The return code of CONNACK; undefined when the connection closes without one. */
  async connect(options: {
    readonly clientId: string;
    readonly clean?: boolean;
    readonly keepalive?: number;
    readonly will?: { topic: string; payload: Buffer; qos?: 0 | 1 | 2; retain?: boolean };
    readonly username?: string;
    readonly password?: string;
  }): Promise<number | undefined> {
    const { password, clean = true, keepalive = 60, ...rest } = options;
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean,
      keepalive,
      ...rest,
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
    });
    return (await this.packet('connack'))?.returnCode;
  }
}

export async function rawDevice(
  t: Test,
  site: Site,
  device: string,
  version: 4 | 5 = 4,
): Promise<RawClient> {
  const { tls } = await site.fleet.device(device);
  const socket = connectTls({
    port: site.broker.ports.mqtts ?? 0,
    host: '127.0.0.1',
    ca: site.fleet.root.certificate.pem,
    ...tls,
  });
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  return new RawClient(socket, version);
}

export async function rawService(t: Test, site: Site, version: 4 | 5 = 4): Promise<RawClient> {
  const socket = connectTcp({ port: site.broker.ports.services ?? 0, host: '127.0.0.1' });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return new RawClient(socket, version);
}

/** A service that has connected with its password. */
export async function rawMeter(
  t: Test,
  site: Site,
  options: Partial<Parameters<RawClient['connect']>[0]> = {},
): Promise<RawClient> {
  const client = await rawService(t, site);
  await client.connect({ clientId: 'raw', username: 'meter', password: 'secret', ...options });
  return client;
}

/** The defaults with some stream limits of the test's own. */
export const streamLimits = (
  stream: Partial<(typeof defaultLimits)['stream']>,
): NonNullable<BrokerOptions['limits']> => ({ stream: { ...defaultLimits.stream, ...stream } });
