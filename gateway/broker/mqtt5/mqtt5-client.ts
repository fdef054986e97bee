/**
 * The protocol of one MQTT 5 client, on the broker's own messages and sessions as Aedes is for MQTT 3: its packets in their order,
 * the handshakes of CONNECT, SUBSCRIBE and the QoS levels, keepalive, and a reason for whatever is refused.
 */
import { isUtf8 } from 'node:buffer';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ClientStream } from '../client-stream.js';
import type { Connection } from '../connection.js';
import type { ProtocolHooks, PublishRequest } from '../protocol.js';
import type { SessionRegistry } from '../session-registry.js';
import { type Accepted, answerConnect, type Mqtt5Limits } from './connect.js';
import type { ClientOutlet } from './mqtt5-outlet.js';
import {
  type Parsed,
  type PublishPacket,
  parseAcknowledgement,
  parseDisconnect,
  parsePublish,
  parseSubscribe,
  parseUnsubscribe,
  sessionExpiryOf,
} from './packets-in.js';
import { acknowledgement, subscriptionAnswer } from './packets-out.js';
import { firstRefusal, packetType, type Reason, reason } from './reason.js';
import { InboundAliases } from './topic-aliases.js';

export interface Mqtt5Dependencies {
  readonly hooks: ProtocolHooks<Connection>;
  readonly sessions: SessionRegistry;
  /** The broker's elapsed time. */
  readonly now: () => number;
}

export class Mqtt5Client {
  readonly #deps: Mqtt5Dependencies;
  readonly #limits: Mqtt5Limits;
  readonly #connection: Connection;
  readonly #stream: ClientStream;
  readonly #aliases: InboundAliases;
  /** QoS 2 messages of this connection without their PUBCOMP. */
  readonly #unfinished = new Set<number>();
  #accepted: Accepted | undefined;
  #keepalive: NodeJS.Timeout | undefined;
  #isWorking = false;
  #isOrderly = false;
  #isOver = false;
  /** Publishes that are being worked on, and whom to tell when none is any more. */
  #underWay = 0;
  #underWayOfQoS1 = 0;
  #idle: (() => void) | undefined;

  constructor(
    deps: Mqtt5Dependencies,
    limits: Mqtt5Limits,
    connection: Connection,
    stream: ClientStream,
  ) {
    this.#deps = deps;
    this.#limits = limits;
    this.#connection = connection;
    this.#stream = stream;
    this.#aliases = new InboundAliases(limits.topicAliasMaximum);
  }

  /** With the first packet of the connection, a CONNECT of version 5. */
  async begin(connect: Buffer): Promise<void> {
    const { hooks, now } = this.#deps;
    this.#stream.once('close', () => this.#closed());
    this.#accepted = await answerConnect(
      { hooks, now },
      this.#limits,
      this.#connection,
      this.#stream,
      connect,
    );
    if (this.#accepted === undefined) return;
    const { keepaliveS } = this.#accepted;
    if (keepaliveS > 0) {
      const onSilence = (): void => this.#stream.cut('KEEPALIVE_TIMEOUT');
      // One and a half times what was agreed (3.1.2.10).
      this.#keepalive = setTimeout(onSilence, keepaliveS * 1_500);
    }
    this.#stream.on('readable', () => this.#next());
    hooks.ready(this.#connection);
    this.#next();
  }

  #closed(): void {
    this.#isOver = true;
    clearTimeout(this.#keepalive);
    this.#idle?.();
    const { hooks } = this.#deps;
    if (this.#accepted !== undefined && !this.#isOrderly) {
      hooks.will(this.#connection).catch((error: unknown) => hooks.failed(this.#connection, error));
    }
    hooks.gone(this.#connection, this.#isOrderly);
  }

  /** Works on a batch, when there is one and the one before is done. */
  #next(): void {
    if (this.#isWorking || this.#isOver) return;
    const batch = this.#stream.read();
    if (batch === null) return;
    this.#keepalive?.refresh();
    this.#isWorking = true;
    this.#work(batch).then(
      () => {
        this.#isWorking = false;
        this.#next();
      },
      (error: unknown) => {
        this.#deps.hooks.failed(this.#connection, error);
        this.#leave(reason.serverBusy, 'it could not be stored');
      },
    );
  }

  async #work(batch: Buffer): Promise<void> {
    let start = 0;
    while (start < batch.length && !this.#isOver) {
      const first = batch[start] ?? 0;
      let at = start + 1;
      let length = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = batch[at] ?? 0;
        length |= (byte & 127) << shift;
        at += 1;
        if (byte < 128) break;
      }
      start = at + length;
      const done = this.#take(batch, first, at, start);
      if (done !== undefined) await done;
    }
    if (this.#underWay === 0 || this.#isOver) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  #take(bytes: Buffer, first: number, at: number, end: number): Promise<void> | undefined {
    const type = first >> 4;
    if (type !== packetType.publish && (first & 15) !== (flagsOf.get(type) ?? 0)) {
      this.#leave(reason.malformedPacket, 'the flags of a packet are not its own');
      return undefined;
    }
    switch (type) {
      case packetType.publish:
        this.#publish(parsePublish(bytes, first, at, end, this.#limits));
        return undefined;
      case packetType.puback:
      case packetType.pubrec:
      case packetType.pubrel:
      case packetType.pubcomp:
        return this.#acknowledged(type, parseAcknowledgement(bytes, at, end, this.#limits));
      case packetType.subscribe:
        return this.#subscribe(parseSubscribe(bytes, at, end, this.#limits));
      case packetType.unsubscribe:
        return this.#unsubscribe(parseUnsubscribe(bytes, at, end, this.#limits));
      case packetType.pingreq:
        this.#outlet?.answer(pingresp);
        return undefined;
      case packetType.disconnect:
        this.#disconnect(parseDisconnect(bytes, at, end, this.#limits));
        return undefined;
      default:
        // A second CONNECT, an AUTH that nobody asked for, or what only a server says.
        this.#leave(reason.protocolError, 'a packet was not expected');
        return undefined;
    }
  }

  get #outlet(): ClientOutlet | undefined {
    return this.#accepted?.outlet;
  }

  #value<T>(parsed: Parsed<T>): T | undefined {
    if ('value' in parsed) return parsed.value;
    this.#leave(parsed.fault, 'a packet is malformed or breaks the protocol');
    return undefined;
  }

  #leave(code: Reason, why: string): void {
    this.#isOver = true;
    this.#outlet?.leave(code, why);
    this.#stream.cut(why);
  }

  #publish(parsed: Parsed<PublishPacket>): void {
    const packet = this.#value(parsed);
    if (packet === undefined) return;
    const { qos, packetId, topicAlias } = packet;
    const topic =
      topicAlias === undefined ? packet.topic : this.#aliases.resolve(packet.topic, topicAlias);
    if (topic === undefined) {
      this.#leave(reason.topicAliasInvalid, 'a topic alias stands for nothing');
      return;
    }
    if (topic === '') {
      this.#leave(reason.protocolError, 'a topic is missing');
      return;
    }
    if (packet.isOverfull || (packet.isUtf8 && !isUtf8(packet.payload))) {
      const code = packet.isOverfull ? reason.quotaExceeded : reason.payloadFormatInvalid;
      this.#refuse(packet, code);
      return;
    }
    if (qos === 2 && packetId !== undefined) this.#unfinished.add(packetId);
    if (qos === 1) this.#underWayOfQoS1 += 1;
    if (this.#unfinished.size + this.#underWayOfQoS1 > this.#limits.receiveMaximum) {
      this.#leave(reason.receiveMaximumExceeded, 'too many messages wait for their end');
      return;
    }
    const { payload, retain, properties, expiryMs } = packet;
    const message: PublishRequest = {
      ...{ topic, payload, qos, retain },
      ...(packetId !== undefined && { messageId: packetId }),
      ...(properties !== undefined && { properties }),
      ...(expiryMs !== undefined && { expiresAt: this.#deps.now() + expiryMs }),
    };
    this.#underWay += 1;
    this.#deps.hooks.publish(this.#connection, message, (error) => this.#published(packet, error));
  }

  #published(packet: PublishPacket, error: Error | undefined): void {
    const { qos, packetId } = packet;
    this.#underWay -= 1;
    if (qos === 1) this.#underWayOfQoS1 -= 1;
    const code = error === undefined ? reason.success : refusalOf(error);
    if (code === undefined) {
      // Not refused for good: it must come again, which it does over another connection.
      this.#deps.hooks.failed(this.#connection, error);
      this.#leave(reason.serverBusy, 'a message could not be taken');
    } else if (code !== reason.success) this.#refuse(packet, code);
    else if (packetId !== undefined) {
      this.#outlet?.answer(acknowledgement(qos === 1 ? 'puback' : 'pubrec', packetId));
    }
    if (this.#underWay === 0) this.#idle?.();
  }

  /** With QoS 0 there is no other way to say so. */
  #refuse({ qos, packetId }: PublishPacket, code: Reason): void {
    if (packetId === undefined) {
      this.#leave(code, 'a message of QoS 0 is refused');
      return;
    }
    if (qos === 2) this.#unfinished.delete(packetId);
    this.#outlet?.answer(acknowledgement(qos === 1 ? 'puback' : 'pubrec', packetId, code));
  }

  async #acknowledged(
    type: number,
    parsed: Parsed<{ readonly packetId: number; readonly code: number }>,
  ): Promise<void> {
    const { session } = this.#connection;
    const packet = this.#value(parsed);
    if (packet === undefined || session === undefined) return;
    const { packetId, code } = packet;
    if (type === packetType.pubrel) {
      if (await session.inbox.settled(packetId)) {
        await this.#deps.sessions.queues.completed(session, packetId);
      }
      this.#unfinished.delete(packetId);
      // One that is not known came before: its PUBCOMP was lost, and clients take a reason for a failure.
      this.#outlet?.answer(acknowledgement('pubcomp', packetId));
    } else if (type === packetType.pubrec && code < firstRefusal) {
      const isKnown = await this.#deps.sessions.queues.released(session, packetId);
      const answer = isKnown ? reason.success : reason.packetIdNotFound;
      this.#outlet?.answer(acknowledgement('pubrel', packetId, answer));
    } else {
      session.acknowledged(packetId);
    }
  }

  async #subscribe(parsed: ReturnType<typeof parseSubscribe>): Promise<void> {
    const { hooks } = this.#deps;
    const { session } = this.#connection;
    const packet = this.#value(parsed);
    if (packet === undefined || session === undefined) return;
    const codes: number[] = [];
    const begun: (() => void)[] = [];
    for (const { retainHandling, ...subscription } of packet.subscriptions) {
      const wasThere = session.subscriptions.has(subscription.filter);
      const outcome = await hooks.subscribe(this.#connection, subscription);
      codes.push(outcome === 'GRANTED' ? subscription.qos : subscribeRefusals[outcome]);
      const wantsRetained = retainHandling === 0 || (retainHandling === 1 && !wasThere);
      if (outcome === 'GRANTED' && wantsRetained) {
        begun.push(() => hooks.subscribed(this.#connection, subscription));
      }
    }
    this.#outlet?.answer(subscriptionAnswer('suback', packet.packetId, codes));
    for (const begin of begun) begin();
  }

  async #unsubscribe(parsed: ReturnType<typeof parseUnsubscribe>): Promise<void> {
    const { session } = this.#connection;
    const packet = this.#value(parsed);
    if (packet === undefined || session === undefined) return;
    const { packetId, filters } = packet;
    const codes = filters.map((filter) =>
      session.subscriptions.has(filter) ? reason.success : reason.noSubscriptionExisted,
    );
    await this.#deps.sessions.unsubscribe(session, filters);
    this.#outlet?.answer(subscriptionAnswer('unsuback', packetId, codes));
  }

  #disconnect(parsed: ReturnType<typeof parseDisconnect>): void {
    const { session } = this.#connection;
    const packet = this.#value(parsed);
    if (packet === undefined || session === undefined) return;
    const { code, sessionExpiryS } = packet;
    if (sessionExpiryS !== undefined) {
      if (sessionExpiryS > 0 && this.#accepted?.sessionExpiryS === 0) {
        this.#leave(reason.protocolError, 'a session that was to end cannot go on');
        return;
      }
      this.#deps.sessions.setExpiry(session, sessionExpiryOf(sessionExpiryS));
    }
    this.#isOver = true;
    // Any other reason has the will published (3.14.4).
    this.#isOrderly = code === reason.success;
    this.#outlet?.hush();
    this.#stream.destroy();
  }
}

const flagsOf = new Map<number, number>([
  [packetType.pubrel, 2],
  [packetType.subscribe, 2],
  [packetType.unsubscribe, 2],
]);

const pingresp = Buffer.from([packetType.pingresp << 4, 0]);

const subscribeRefusals = {
  NOT_AUTHORISED: reason.notAuthorised,
  FILTER_INVALID: reason.topicFilterInvalid,
  QUOTA_EXCEEDED: reason.quotaExceeded,
  SHARING_NOT_OFFERED: reason.sharedSubscriptionsNotSupported,
} as const;

/** What is refused for good; undefined: it may be taken another time. */
const refusalOf = (error: Error): Reason | undefined => {
  if (isHoldfastError(error, 'REQUEST_TOO_LARGE')) return reason.quotaExceeded;
  if (!isHoldfastError(error, 'NOT_AUTHORISED')) return undefined;
  const isMalformed = /^TOPIC_(MALFORMED|TOO_LONG)$/.test(String(error.data?.reason));
  return isMalformed ? reason.topicNameInvalid : reason.notAuthorised;
};
