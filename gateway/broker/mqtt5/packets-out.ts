/** What the broker answers an MQTT 5 client. */
import type { PublishFields } from '../publish-packet.js';
import { PacketWriter, varintBytes } from './packet-writer.js';
import { property } from './properties.js';
import { packetType, type Reason, reason } from './reason.js';

export interface ConnackFields {
  readonly code: Reason;
  readonly isSessionPresent?: boolean;
  readonly reasonString?: string | undefined;
  readonly sessionExpiryS?: number | undefined;
  readonly receiveMaximum?: number;
  readonly maximumPacketSize?: number;
  readonly assignedClientId?: string | undefined;
  readonly topicAliasMaximum?: number;
  readonly serverKeepAliveS?: number | undefined;
  /** Said when the connection is accepted: whether shared subscriptions are for this client. */
  readonly isSharingAvailable?: boolean;
}

export const connack = (fields: ConnackFields): Buffer => {
  const properties = new PacketWriter();
  const { sessionExpiryS, receiveMaximum, maximumPacketSize, topicAliasMaximum } = fields;
  if (sessionExpiryS !== undefined) {
    properties.byte(property.sessionExpiry).uint32(sessionExpiryS);
  }
  if (receiveMaximum !== undefined) {
    properties.byte(property.receiveMaximum).uint16(receiveMaximum);
  }
  if (maximumPacketSize !== undefined) {
    properties.byte(property.maximumPacketSize).uint32(maximumPacketSize);
  }
  if (fields.assignedClientId !== undefined) {
    properties.byte(property.assignedClientId).text(fields.assignedClientId);
  }
  if (topicAliasMaximum !== undefined) {
    properties.byte(property.topicAliasMaximum).uint16(topicAliasMaximum);
  }
  if (fields.serverKeepAliveS !== undefined) {
    properties.byte(property.serverKeepAlive).uint16(fields.serverKeepAliveS);
  }
  if (fields.isSharingAvailable !== undefined) {
    // A maximum QoS of 2 is said by not saying it (3.2.2.3.4).
    properties.byte(property.retainAvailable).byte(1);
    properties.byte(property.wildcardSubscriptions).byte(1);
    properties.byte(property.subscriptionIdentifiers).byte(1);
    properties.byte(property.sharedSubscriptions).byte(fields.isSharingAvailable ? 1 : 0);
  }
  explain(properties, fields.reasonString);
  return new PacketWriter()
    .byte(fields.isSessionPresent === true ? 1 : 0)
    .byte(fields.code)
    .varint(properties.length)
    .bytes(properties.taken())
    .packet(packetType.connack << 4);
};

export const disconnect = (code: Reason, reasonString?: string): Buffer => {
  const properties = new PacketWriter();
  explain(properties, reasonString);
  return new PacketWriter()
    .byte(code)
    .varint(properties.length)
    .bytes(properties.taken())
    .packet(packetType.disconnect << 4);
};

const explain = (properties: PacketWriter, reasonString: string | undefined): void => {
  if (reasonString !== undefined) properties.byte(property.reasonString).text(reasonString);
};

/** PUBACK, PUBREC, PUBREL and PUBCOMP: without a reason when it went well (3.4.2.1). */
export const acknowledgement = (
  type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp',
  packetId: number,
  code: Reason = reason.success,
): Buffer => {
  const first = (packetType[type] << 4) | (type === 'pubrel' ? 2 : 0);
  const writer = new PacketWriter().uint16(packetId);
  if (code !== reason.success) writer.byte(code);
  return writer.packet(first);
};

export const subscriptionAnswer = (
  type: 'suback' | 'unsuback',
  packetId: number,
  codes: readonly number[],
): Buffer =>
  new PacketWriter()
    .uint16(packetId)
    .varint(0)
    .bytes(Uint8Array.from(codes))
    .packet(packetType[type] << 4);

/** As the connection has it: a topic that its alias stands for is empty. */
export interface PublishOut extends PublishFields {
  readonly wireTopic: string;
  readonly topicAlias: number | undefined;
  /** Seconds left. */
  readonly expiryS: number | undefined;
}

/** Bytes of the whole packet, and what it takes to write it. */
export const sizePublish = (publish: PublishOut) => {
  const topicBytes = Buffer.byteLength(publish.wireTopic);
  const propertyBytes =
    (publish.properties?.length ?? 0) +
    (publish.topicAlias === undefined ? 0 : 3) +
    (publish.expiryS === undefined ? 0 : 5);
  const remaining =
    2 +
    topicBytes +
    (publish.qos > 0 ? 2 : 0) +
    varintBytes(propertyBytes) +
    propertyBytes +
    publish.payload.length;
  return { topicBytes, propertyBytes, remaining, total: 1 + varintBytes(remaining) + remaining };
};

/** Everything of a PUBLISH before its payload. */
export const publishHead = (publish: PublishOut, size: ReturnType<typeof sizePublish>): Buffer => {
  const head = Buffer.allocUnsafe(size.total - publish.payload.length);
  head[0] = 0x30 | (publish.dup ? 8 : 0) | (publish.qos << 1) | (publish.retain ? 1 : 0);
  let at = writeVarint(head, 1, size.remaining);
  at = head.writeUInt16BE(size.topicBytes, at);
  at += head.write(publish.wireTopic, at);
  if (publish.qos > 0) at = head.writeUInt16BE(publish.packetId ?? 0, at);
  at = writeVarint(head, at, size.propertyBytes);
  if (publish.expiryS !== undefined) {
    at = head.writeUInt8(property.messageExpiry, at);
    at = head.writeUInt32BE(publish.expiryS, at);
  }
  if (publish.topicAlias !== undefined) {
    at = head.writeUInt8(property.topicAlias, at);
    at = head.writeUInt16BE(publish.topicAlias, at);
  }
  if (publish.properties !== undefined) head.set(publish.properties, at);
  return head;
};

const writeVarint = (into: Buffer, at: number, value: number): number => {
  let to = at;
  let rest = value;
  for (; rest > 127; rest >>>= 7) to = into.writeUInt8((rest & 127) | 128, to);
  return into.writeUInt8(rest, to);
};
