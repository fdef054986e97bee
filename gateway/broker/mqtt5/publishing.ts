/** The messages of one MQTT 5 client, from its PUBLISH to the last word about it: windows, aliases, and why one is refused. */
import { isUtf8 } from 'node:buffer';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { PublishRequest } from '../protocol.js';
import type { Mqtt5Limits } from './connect.js';
import type { PublishPacket } from './packets-in.js';
import { acknowledgement } from './packets-out.js';
import type { Mqtt5Dependencies, Peer } from './peer.js';
import { firstRefusal, packetType, type Reason, reason } from './reason.js';
import { InboundAliases } from './topic-aliases.js';

export class Publishing {
  readonly #deps: Mqtt5Dependencies;
  readonly #peer: Peer;
  readonly #receiveMaximum: number;
  readonly #aliases: InboundAliases;
  /** QoS 2 messages of this connection without their PUBCOMP. */
  readonly #unfinished = new Set<number>();
  #underWay = 0;
  #underWayOfQoS1 = 0;
  #idle: (() => void) | undefined;

  constructor(
    deps: Mqtt5Dependencies,
    limits: Pick<Mqtt5Limits, 'receiveMaximum' | 'topicAliasMaximum'>,
    peer: Peer,
  ) {
    this.#deps = deps;
    this.#peer = peer;
    this.#receiveMaximum = limits.receiveMaximum;
    this.#aliases = new InboundAliases(limits.topicAliasMaximum);
  }

  /** Resolves when nothing is being worked on, or with `stop`. */
  async idle(): Promise<void> {
    if (this.#underWay === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** The connection is gone: nobody waits for what is under way. */
  stop(): void {
    this.#idle?.();
  }

  take(packet: PublishPacket): void {
    const { qos, packetId, topicAlias } = packet;
    const topic =
      topicAlias === undefined ? packet.topic : this.#aliases.resolve(packet.topic, topicAlias);
    if (topic === undefined) {
      this.#peer.leave(reason.topicAliasInvalid, 'a topic alias stands for nothing');
      return;
    }
    if (topic === '') {
      this.#peer.leave(reason.protocolError, 'a topic is missing');
      return;
    }
    if (packet.isOverfull || (packet.isUtf8 && !isUtf8(packet.payload))) {
      const code = packet.isOverfull ? reason.quotaExceeded : reason.payloadFormatInvalid;
      this.#refuse(packet, code);
      return;
    }
    if (qos === 2 && packetId !== undefined) this.#unfinished.add(packetId);
    if (qos === 1) this.#underWayOfQoS1 += 1;
    if (this.#unfinished.size + this.#underWayOfQoS1 > this.#receiveMaximum) {
      this.#peer.leave(reason.receiveMaximumExceeded, 'too many messages wait for their end');
      return;
    }
    const { payload, retain, properties, expiryMs } = packet;
    const message: PublishRequest = {
      topic,
      payload,
      qos,
      retain,
      messageId: packetId,
      properties,
      expiresAt: expiryMs === undefined ? undefined : this.#deps.now() + expiryMs,
    };
    this.#underWay += 1;
    this.#deps.hooks.publish(this.#peer.connection, message, (error) => this.#done(packet, error));
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP. */
  async acknowledged(
    type: number,
    { packetId, code }: { readonly packetId: number; readonly code: number },
  ): Promise<void> {
    const { session } = this.#peer.connection;
    const { queues } = this.#deps.sessions;
    if (session === undefined) return;
    if (type === packetType.pubrel) {
      if (await session.inbox.settled(packetId)) await queues.completed(session, packetId);
      this.#unfinished.delete(packetId);
      // One that is not known came before: its PUBCOMP was lost, and clients take a reason for a failure.
      this.#peer.answer(acknowledgement('pubcomp', packetId));
    } else if (type === packetType.pubrec && code < firstRefusal) {
      const isKnown = await queues.released(session, packetId);
      const answer = isKnown ? reason.success : reason.packetIdNotFound;
      this.#peer.answer(acknowledgement('pubrel', packetId, answer));
    } else {
      session.acknowledged(packetId);
    }
  }

  #done(packet: PublishPacket, error: Error | undefined): void {
    const { qos, packetId } = packet;
    this.#underWay -= 1;
    if (qos === 1) this.#underWayOfQoS1 -= 1;
    const code = error === undefined ? reason.success : refusalOf(error);
    if (code === undefined) {
      // Not refused for good: it must come again, which it does over another connection.
      this.#deps.hooks.failed(this.#peer.connection, error);
      this.#peer.leave(reason.serverBusy, 'a message could not be taken');
    } else if (code !== reason.success) this.#refuse(packet, code);
    else if (packetId !== undefined) {
      this.#peer.answer(acknowledgement(qos === 1 ? 'puback' : 'pubrec', packetId));
    }
    if (this.#underWay === 0) this.#idle?.();
  }

  /** With QoS 0 there is no other way to say so. */
  #refuse({ qos, packetId }: PublishPacket, code: Reason): void {
    if (packetId === undefined) {
      this.#peer.leave(code, 'a message of QoS 0 is refused');
      return;
    }
    if (qos === 2) this.#unfinished.delete(packetId);
    this.#peer.answer(acknowledgement(qos === 1 ? 'puback' : 'pubrec', packetId, code));
  }
}

/** What is refused for good; undefined: it may be taken another time. */
const refusalOf = (error: Error): Reason | undefined => {
  if (isHoldfastError(error, 'REQUEST_TOO_LARGE')) return reason.quotaExceeded;
  if (!isHoldfastError(error, 'NOT_AUTHORISED')) return undefined;
  const isMalformed = /^TOPIC_(MALFORMED|TOO_LONG)$/.test(String(error.data?.reason));
  return isMalformed ? reason.topicNameInvalid : reason.notAuthorised;
};
