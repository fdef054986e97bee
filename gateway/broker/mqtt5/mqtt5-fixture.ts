/** Clients of MQTT 5 that say exactly what a test has them say; bytes are made and read by mqtt-packet, which is not the broker's. */
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubscription,
} from 'mqtt-packet';
import type { Test } from 'tap';
import { type RawClient, rawDevice, rawService, type Site } from '../broker-fixture.js';

export type Connect5 = Partial<Omit<IConnectPacket, 'cmd'>>;

/** A service of MQTT 5, with the answer to its CONNECT. */
export async function meter5(
  t: Test,
  site: Site,
  connect: Connect5 = {},
): Promise<{ client: RawClient; connack: IConnackPacket | undefined }> {
  const client = await rawService(t, site, 5);
  const login = { username: 'meter', password: Buffer.from('secret') };
  return { client, connack: await connectWith(client, { ...login, ...connect }) };
}

export async function device5(
  t: Test,
  site: Site,
  device: string,
  connect: Connect5 = {},
): Promise<{ client: RawClient; connack: IConnackPacket | undefined }> {
  const client = await rawDevice(t, site, device, 5);
  return { client, connack: await connectWith(client, { clientId: device, ...connect }) };
}

const connectWith = async (
  client: RawClient,
  connect: Connect5,
): Promise<IConnackPacket | undefined> => {
  const packet: IConnectPacket = {
    ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5 },
    ...{ clientId: 'raw', keepalive: 60, ...connect },
    clean: true,
  };
  const bytes = generate(packet, { protocolVersion: 5 });
  // It refuses to write a client without an id that does not begin from nothing, which MQTT 5 allows.
  if (connect.clean === false) bytes.writeUInt8(flagsOf(bytes) & ~2, flagsAt(bytes));
  client.socket.write(bytes);
  return client.packet('connack');
};

/** Behind the lengths, the name and the version. */
const flagsAt = (bytes: Buffer): number => bytes.indexOf('MQTT') + 5;
const flagsOf = (bytes: Buffer): number => bytes.readUInt8(flagsAt(bytes));

export const publish5 = (more: Partial<IPublishPacket> = {}): IPublishPacket => ({
  ...{ cmd: 'publish', topic: 'w/x', payload: 'x', qos: 0, dup: false, retain: false },
  ...more,
});

/** Subscribes, and gives the reason codes. */
export async function subscribe5(
  client: RawClient,
  subscriptions: readonly (Partial<ISubscription> & { readonly topic: string })[],
  more: { readonly messageId?: number; readonly identifier?: number } = {},
): Promise<readonly unknown[] | undefined> {
  const { messageId = 100 + client.packets.length, identifier } = more;
  client.send({
    cmd: 'subscribe',
    messageId,
    subscriptions: subscriptions.map((one) => ({ qos: 2, ...one })),
    ...(identifier !== undefined && { properties: { subscriptionIdentifier: identifier } }),
  });
  return (await client.packet('suback', (suback) => suback.messageId === messageId))?.granted as
    | readonly unknown[]
    | undefined;
}

/** What came with PUBLISH so far. */
export const publishes = (client: RawClient): IPublishPacket[] =>
  client.packets.filter((packet): packet is IPublishPacket => packet.cmd === 'publish');

/** Everything that was said to the client before now has come when this has. */
export async function pinged(client: RawClient): Promise<void> {
  const before = client.packets.filter(({ cmd }) => cmd === 'pingresp').length;
  client.send({ cmd: 'pingreq' });
  let seen = 0;
  await client.packet('pingresp', () => {
    seen += 1;
    return seen > before;
  });
}

/** The PUBLISH with this payload. */
export const published = (client: RawClient, payload: string) =>
  client.packet('publish', (packet) => packet.payload.toString() === payload);

/** As a client that leaves in order. */
export async function leave(
  client: RawClient,
  more: { reasonCode?: number; properties?: { sessionExpiryInterval?: number } } = {},
): Promise<void> {
  client.send({ cmd: 'disconnect', ...more });
  await client.closed;
}

/** As a client whose network breaks, known to the broker by the end of its connection. */
export async function lose(client: RawClient): Promise<void> {
  client.socket.destroy();
  await client.closed;
}
