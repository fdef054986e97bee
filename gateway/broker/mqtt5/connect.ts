/** From an MQTT 5 CONNECT to its CONNACK: what the client may ask for, and what it is told. */
import type { ClientStream } from '../client-stream.js';
import type { Connection } from '../connection.js';
import type { ConnectRefusal, ProtocolHooks } from '../protocol.js';
import { ClientOutlet } from './mqtt5-outlet.js';
import { type ConnectPacket, parseConnect, sessionExpiryOf } from './packets-in.js';
import { type ConnackFields, connack } from './packets-out.js';
import type { PropertyLimits } from './properties.js';
import { type Reason, reason } from './reason.js';

export interface Mqtt5Limits extends PropertyLimits {
  /** Messages of QoS 1 and 2 that a client may have under way. */
  readonly receiveMaximum: number;
  /** Topic aliases in either direction. */
  readonly topicAliasMaximum: number;
  /** The longest keepalive, s; a client that asks for a longer or none is given this one. 0: as the client says. */
  readonly maxKeepaliveS: number;
  readonly maxPacketBytes: number;
}

export interface Accepted {
  readonly outlet: ClientOutlet;
  readonly keepaliveS: number;
  /** As it was granted. */
  readonly sessionExpiryS: number;
}

/** Undefined when the client is gone: refused, told so, and cut; or cut without a word, as `ProtocolHooks.authenticate` has it. */
export async function answerConnect(
  deps: { readonly hooks: ProtocolHooks<Connection>; readonly now: () => number },
  limits: Mqtt5Limits,
  connection: Connection,
  stream: ClientStream,
  bytes: Buffer,
): Promise<Accepted | undefined> {
  const { hooks } = deps;
  const parsed = parseConnect(bytes, bodyAt(bytes), bytes.length, limits);
  if ('fault' in parsed) return refuse(stream, parsed.fault, 'the CONNECT cannot be read');
  const connect = parsed.value;
  if (connect.authenticationMethod !== undefined) {
    return refuse(stream, reason.badAuthenticationMethod, 'there is no such authentication');
  }
  const outlet = new ClientOutlet(stream, deps.now, {
    ...connect,
    topicAliasMaximum: Math.min(connect.topicAliasMaximum, limits.topicAliasMaximum),
  });
  const { clientId, username, will, cleanStart, sessionExpiryS } = connect;
  const start = { isClean: cleanStart, expiryMs: sessionExpiryOf(sessionExpiryS) };
  hooks.onConnect(connection, {
    ...{ clientId, start, will },
    ...(username !== undefined && { username }),
  });
  try {
    const refusal = await hooks.authenticate(connection, username, connect.password);
    if (refusal !== undefined) return refuse(stream, refusals[refusal], refusal);
    await confirmSubscriptions(hooks, connection);
    if (will !== undefined) await hooks.storeWill(connection);
  } catch (error) {
    hooks.failed(connection, error);
    stream.destroy();
    return undefined;
  }
  if (stream.destroyed) return undefined;
  const granted = grant(connection, connect, limits);
  connection.mqtt5 = outlet;
  outlet.answer(connack(granted.fields));
  return { outlet, keepaliveS: granted.keepaliveS, sessionExpiryS: granted.sessionExpiryS };
}

/** What a session was subscribed to when it had other rights goes, and another of a group gets what it was owed. */
const confirmSubscriptions = async (
  hooks: ProtocolHooks<Connection>,
  connection: Connection,
): Promise<void> => {
  const { session, isResumed } = connection;
  if (session === undefined || !isResumed) return;
  for (const subscription of [...session.subscriptions.values()]) {
    await hooks.subscribe(connection, subscription);
  }
};

const grant = (connection: Connection, connect: ConnectPacket, limits: Mqtt5Limits) => {
  const { maxKeepaliveS } = limits;
  const isTooLong =
    maxKeepaliveS > 0 && (connect.keepaliveS === 0 || connect.keepaliveS > maxKeepaliveS);
  const keepaliveS = isTooLong ? maxKeepaliveS : connect.keepaliveS;
  const expiryMs = connection.session?.expiryMs ?? 0;
  const sessionExpiryS = Number.isFinite(expiryMs) ? Math.floor(expiryMs / 1_000) : 0xffff_ffff;
  const fields: ConnackFields = {
    code: reason.success,
    isSessionPresent: connection.isResumed,
    sessionExpiryS: sessionExpiryS === connect.sessionExpiryS ? undefined : sessionExpiryS,
    receiveMaximum: limits.receiveMaximum,
    maximumPacketSize: limits.maxPacketBytes,
    assignedClientId: connect.clientId === '' ? connection.clientId : undefined,
    topicAliasMaximum: limits.topicAliasMaximum,
    serverKeepAliveS: isTooLong ? keepaliveS : undefined,
    isSharingAvailable: connection.device === undefined,
  };
  return { fields, keepaliveS, sessionExpiryS };
};

const refuse = (stream: ClientStream, code: Reason, reasonString: string): undefined => {
  stream.send(connack({ code, reasonString }));
  stream.destroy();
};

const refusals: Record<ConnectRefusal, Reason> = {
  CLIENT_ID: reason.clientIdNotValid,
  CREDENTIALS: reason.badUserNameOrPassword,
  NOT_AUTHORISED: reason.notAuthorised,
};

/** Behind the length of the packet. */
const bodyAt = (bytes: Buffer): number => {
  let at = 1;
  while ((bytes[at] ?? 0) > 127) at += 1;
  return at + 1;
};
