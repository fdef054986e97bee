/** The packets of an MQTT 5 client, parsed and checked one by one. */
import type { QoS } from '../message.js';
import type { Subscription } from '../subscription-index.js';
import type { Will } from '../wills.js';
import { PacketReader } from './packet-reader.js';
import { allowedIn, type PropertyLimits, property, readProperties } from './properties.js';
import { type Reason, reason } from './reason.js';

export type Parsed<T> = { readonly value: T } | { readonly fault: Reason };

export interface ConnectPacket {
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly keepaliveS: number;
  readonly sessionExpiryS: number;
  readonly receiveMaximum: number;
  /** Infinity when the client names none. */
  readonly maximumPacketSize: number;
  readonly topicAliasMaximum: number;
  readonly wantsReasons: boolean;
  readonly authenticationMethod: string | undefined;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly will: Will | undefined;
}

export const parseConnect = (
  bytes: Buffer,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<ConnectPacket> => {
  const reader = new PacketReader(bytes, at, end);
  if (reader.text() !== 'MQTT' || reader.byte() !== 5) reader.fail(reason.malformedPacket);
  const flags = reader.byte();
  if (flags & 1) reader.fail(reason.malformedPacket);
  const keepaliveS = reader.uint16();
  const { numbers, texts, areTooMany } = readProperties(reader, allowedIn.connect, limits);
  const receiveMaximum = numbers.get(property.receiveMaximum) ?? 65_535;
  const maximumPacketSize = numbers.get(property.maximumPacketSize) ?? Number.POSITIVE_INFINITY;
  if (receiveMaximum === 0 || maximumPacketSize === 0) reader.fail(reason.protocolError);
  const clientId = reader.text();
  const will = flags & 4 ? readWill(reader, flags, limits) : undefined;
  if ((flags & 4) === 0 && flags & 0b111000) reader.fail(reason.malformedPacket);
  const username = flags & 128 ? reader.text() : undefined;
  const password = flags & 64 ? reader.binary() : undefined;
  if (reader.hasMore) reader.fail(reason.malformedPacket);
  if (areTooMany) reader.fail(reason.quotaExceeded);
  if (reader.fault !== undefined) return { fault: reader.fault };
  return {
    value: {
      ...{ clientId, keepaliveS, receiveMaximum, maximumPacketSize, username, password, will },
      cleanStart: (flags & 2) > 0,
      sessionExpiryS: numbers.get(property.sessionExpiry) ?? 0,
      topicAliasMaximum: numbers.get(property.topicAliasMaximum) ?? 0,
      wantsReasons: numbers.get(property.requestProblemInformation) !== 0,
      authenticationMethod: texts.get(property.authenticationMethod),
    },
  };
};

const readWill = (reader: PacketReader, flags: number, limits: PropertyLimits): Will => {
  const { numbers, carried, areTooMany } = readProperties(reader, allowedIn.will, limits);
  if (areTooMany) reader.fail(reason.quotaExceeded);
  const topic = reader.text();
  const payload = reader.binary();
  return {
    ...{ topic, payload, properties: carried },
    qos: qosOf(reader, (flags >> 3) & 3),
    retain: (flags & 32) > 0,
    expiryMs: ms(numbers.get(property.messageExpiry)),
    delayMs: ms(numbers.get(property.willDelay)),
  };
};

export interface PublishPacket {
  readonly topic: string;
  readonly topicAlias: number | undefined;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly packetId: number | undefined;
  readonly properties: Uint8Array | undefined;
  readonly expiryMs: number | undefined;
  readonly isUtf8: boolean;
  /** It has more properties than are taken. */
  readonly isOverfull: boolean;
}

/** `first`: the packet's first byte. */
export const parsePublish = (
  bytes: Buffer,
  first: number,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<PublishPacket> => {
  const reader = new PacketReader(bytes, at, end);
  const topic = reader.text();
  const qos = qosOf(reader, (first >> 1) & 3);
  if (qos === 0 && first & 8) reader.fail(reason.malformedPacket);
  const packetId = qos > 0 ? reader.packetId() : undefined;
  const { numbers, carried, areTooMany } = readProperties(reader, allowedIn.publish, limits);
  const payload = reader.rest();
  if (reader.fault !== undefined) return { fault: reader.fault };
  return {
    value: {
      topic,
      payload,
      qos,
      packetId,
      properties: carried,
      isOverfull: areTooMany,
      topicAlias: numbers.get(property.topicAlias),
      retain: (first & 1) === 1,
      expiryMs: ms(numbers.get(property.messageExpiry)),
      isUtf8: numbers.get(property.payloadFormat) === 1,
    },
  };
};

export interface SubscribePacket {
  readonly packetId: number;
  readonly subscriptions: readonly (Subscription & { readonly retainHandling: number })[];
}

export const parseSubscribe = (
  bytes: Buffer,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<SubscribePacket> => {
  const reader = new PacketReader(bytes, at, end);
  const packetId = reader.packetId();
  const { numbers, areTooMany } = readProperties(reader, allowedIn.subscribe, limits);
  if (areTooMany) reader.fail(reason.quotaExceeded);
  const identifier = numbers.get(property.subscriptionIdentifier);
  if (identifier === 0 || !reader.hasMore) reader.fail(reason.protocolError);
  const subscriptions: SubscribePacket['subscriptions'][number][] = [];
  while (reader.hasMore) {
    const filter = reader.text();
    const options = reader.byte();
    if (options & 0b1100_0000) reader.fail(reason.malformedPacket);
    const retainHandling = (options >> 4) & 3;
    if (retainHandling === 3) reader.fail(reason.protocolError);
    const noLocal = (options & 4) > 0;
    // 3.8.3.1: what no member published itself is for every member.
    if (noLocal && filter.startsWith('$share/')) reader.fail(reason.protocolError);
    subscriptions.push({
      ...{ filter, qos: qosOf(reader, options & 3), retainHandling },
      ...(noLocal && { noLocal }),
      ...((options & 8) > 0 && { retainAsPublished: true }),
      ...(identifier !== undefined && { identifier }),
    });
  }
  return reader.fault === undefined
    ? { value: { packetId, subscriptions } }
    : { fault: reader.fault };
};

export const parseUnsubscribe = (
  bytes: Buffer,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<{ readonly packetId: number; readonly filters: readonly string[] }> => {
  const reader = new PacketReader(bytes, at, end);
  const packetId = reader.packetId();
  if (readProperties(reader, allowedIn.unsubscribe, limits).areTooMany) {
    reader.fail(reason.quotaExceeded);
  }
  if (!reader.hasMore) reader.fail(reason.protocolError);
  const filters: string[] = [];
  while (reader.hasMore) filters.push(reader.text());
  return reader.fault === undefined ? { value: { packetId, filters } } : { fault: reader.fault };
};

/** PUBACK, PUBREC, PUBREL and PUBCOMP. */
export const parseAcknowledgement = (
  bytes: Buffer,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<{ readonly packetId: number; readonly code: number }> => {
  const reader = new PacketReader(bytes, at, end);
  const packetId = reader.packetId();
  const code = reader.hasMore ? reader.byte() : reason.success;
  if (reader.hasMore) readProperties(reader, allowedIn.acknowledgement, limits);
  return reader.fault === undefined ? { value: { packetId, code } } : { fault: reader.fault };
};

export const parseDisconnect = (
  bytes: Buffer,
  at: number,
  end: number,
  limits: PropertyLimits,
): Parsed<{ readonly code: number; readonly sessionExpiryS: number | undefined }> => {
  const reader = new PacketReader(bytes, at, end);
  const code = reader.hasMore ? reader.byte() : reason.success;
  const properties = reader.hasMore
    ? readProperties(reader, allowedIn.disconnect, limits)
    : undefined;
  const sessionExpiryS = properties?.numbers.get(property.sessionExpiry);
  return reader.fault === undefined ? { value: { code, sessionExpiryS } } : { fault: reader.fault };
};

/** 0xFFFFFFFF: it never expires. */
export const sessionExpiryOf = (seconds: number): number =>
  seconds === 0xffff_ffff ? Number.POSITIVE_INFINITY : seconds * 1_000;

const qosOf = (reader: PacketReader, bits: number): QoS => {
  if (bits === 0 || bits === 1 || bits === 2) return bits;
  reader.fail(reason.malformedPacket);
  return 0;
};

const ms = (seconds: number | undefined): number | undefined =>
  seconds === undefined ? undefined : seconds * 1_000;
