/** Properties of packets that come in (MQTT 5, 2.2.2): checked for their packet, bounded, and those that are carried on kept as they are. */
import type { PacketReader } from './packet-reader.js';
import { reason } from './reason.js';

export const property = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiry: 0x11,
  assignedClientId: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelay: 0x18,
  requestResponseInformation: 0x19,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptions: 0x28,
  subscriptionIdentifiers: 0x29,
  sharedSubscriptions: 0x2a,
} as const;

type Kind = 'flag' | 'uint16' | 'uint32' | 'varint' | 'text' | 'binary' | 'pair';

const p = property;

/** Of those a client sends. */
const kinds = new Map<number, Kind>([
  [p.payloadFormat, 'flag'],
  [p.messageExpiry, 'uint32'],
  [p.contentType, 'text'],
  [p.responseTopic, 'text'],
  [p.correlationData, 'binary'],
  [p.subscriptionIdentifier, 'varint'],
  [p.sessionExpiry, 'uint32'],
  [p.authenticationMethod, 'text'],
  [p.authenticationData, 'binary'],
  [p.requestProblemInformation, 'flag'],
  [p.willDelay, 'uint32'],
  [p.requestResponseInformation, 'flag'],
  [p.reasonString, 'text'],
  [p.receiveMaximum, 'uint16'],
  [p.topicAliasMaximum, 'uint16'],
  [p.topicAlias, 'uint16'],
  [p.userProperty, 'pair'],
  [p.maximumPacketSize, 'uint32'],
]);

/** Carried to MQTT 5 subscribers byte for byte. */
const carriedOn: ReadonlySet<number> = new Set([
  p.payloadFormat,
  p.contentType,
  p.responseTopic,
  p.correlationData,
  p.userProperty,
]);

const ofMessage = [p.messageExpiry, ...carriedOn];

export const allowedIn = {
  connect: new Set<number>([
    p.sessionExpiry,
    p.receiveMaximum,
    p.maximumPacketSize,
    p.topicAliasMaximum,
    p.requestResponseInformation,
    p.requestProblemInformation,
    p.userProperty,
    p.authenticationMethod,
    p.authenticationData,
  ]),
  will: new Set<number>([p.willDelay, ...ofMessage]),
  publish: new Set<number>([p.topicAlias, ...ofMessage]),
  subscribe: new Set<number>([p.subscriptionIdentifier, p.userProperty]),
  unsubscribe: new Set<number>([p.userProperty]),
  acknowledgement: new Set<number>([p.reasonString, p.userProperty]),
  disconnect: new Set<number>([p.sessionExpiry, p.reasonString, p.userProperty]),
} as const;

export interface PropertyLimits {
  readonly maxUserProperties: number;
  /** Of all properties of a packet, or a will, together. */
  readonly maxPropertiesBytes: number;
}

export interface PropertiesIn {
  /** Integers and flags by identifier. */
  readonly numbers: ReadonlyMap<number, number>;
  readonly texts: ReadonlyMap<number, string>;
  /** Those that go on with a message, as they came. */
  readonly carried: Uint8Array | undefined;
  /** There are more of them than are taken. */
  readonly areTooMany: boolean;
}

const none: PropertiesIn = {
  numbers: new Map(),
  texts: new Map(),
  carried: undefined,
  areTooMany: false,
};

/** Reads the length and all properties; faults are the reader's. */
export const readProperties = (
  packet: PacketReader,
  allowed: ReadonlySet<number>,
  limits: PropertyLimits,
): PropertiesIn => {
  const length = packet.varint();
  if (length === 0) return none;
  const reader = packet.within(length);
  const numbers = new Map<number, number>();
  const texts = new Map<number, string>();
  const seen = new Set<number>();
  const carried: Buffer[] = [];
  let users = 0;
  while (reader.hasMore) {
    const from = reader.at;
    const id = reader.byte();
    const kind = kinds.get(id);
    if (kind === undefined || !allowed.has(id)) reader.fail(reason.malformedPacket);
    else if (seen.has(id)) reader.fail(reason.protocolError);
    else if (kind === 'pair') {
      reader.text();
      reader.text();
      users += 1;
    } else {
      seen.add(id);
      if (kind === 'text') texts.set(id, reader.text());
      else if (kind === 'binary') reader.binary();
      else numbers.set(id, numberOf(reader, kind));
    }
    if (carriedOn.has(id)) carried.push(reader.bytes.subarray(from, reader.at));
  }
  const responseTopic = texts.get(p.responseTopic);
  if (responseTopic !== undefined && /[+#]|^$/.test(responseTopic)) {
    reader.fail(reason.protocolError);
  }
  if (reader.fault !== undefined) packet.fail(reader.fault);
  return {
    numbers,
    texts,
    carried: carried.length === 0 ? undefined : Buffer.concat(carried),
    areTooMany: users > limits.maxUserProperties || length > limits.maxPropertiesBytes,
  };
};

const numberOf = (reader: PacketReader, kind: 'flag' | 'uint16' | 'uint32' | 'varint'): number => {
  switch (kind) {
    case 'flag': {
      const value = reader.byte();
      if (value > 1) reader.fail(reason.protocolError);
      return value;
    }
    case 'uint16':
      return reader.uint16();
    case 'uint32':
      return reader.uint32();
    case 'varint':
      return reader.varint();
  }
};
