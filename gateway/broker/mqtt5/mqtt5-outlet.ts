/** How an MQTT 5 client is written to: within its packet size, with aliases, and with what is left of a message's time. */
import type { ClientStream } from '../client-stream.js';
import type { Mqtt5Outlet } from '../connection.js';
import type { PublishFields } from '../publish-packet.js';
import { disconnect, publishHead, sizePublish } from './packets-out.js';
import { type Reason, reason } from './reason.js';
import { OutboundAliases } from './topic-aliases.js';

export interface OutletTerms {
  readonly receiveMaximum: number;
  readonly maximumPacketSize: number;
  readonly topicAliasMaximum: number;
  /** Whether the client wants to be told in words. */
  readonly wantsReasons: boolean;
}

export class ClientOutlet implements Mqtt5Outlet {
  readonly receiveMaximum: number;
  readonly #stream: ClientStream;
  readonly #now: () => number;
  readonly #terms: OutletTerms;
  readonly #aliases: OutboundAliases;
  #isOver = false;

  /** `now` is the broker's elapsed time. */
  constructor(stream: ClientStream, now: () => number, terms: OutletTerms) {
    this.#stream = stream;
    this.#now = now;
    this.#terms = terms;
    this.receiveMaximum = terms.receiveMaximum;
    this.#aliases = new OutboundAliases(terms.topicAliasMaximum);
  }

  publish(fields: PublishFields): boolean {
    const { topic, payload, expiresAt } = fields;
    const known = this.#aliases.of(topic);
    const publish = {
      ...fields,
      // With QoS 2 a client keeps the packet until PUBREL, and mqtt.js (5.x) then no longer knows what its alias stood for.
      wireTopic: known?.isKnown === true && fields.qos < 2 ? '' : topic,
      topicAlias: known?.alias,
      expiryS: expiresAt === undefined ? undefined : this.#secondsTo(expiresAt),
    };
    const size = sizePublish(publish);
    if (size.total > this.#terms.maximumPacketSize) return false;
    if (known?.isKnown === false) this.#aliases.told(topic, known.alias);
    this.#stream.send(publishHead(publish, size), payload);
    return true;
  }

  /** Anything but a PUBLISH. The client takes every packet that it needs, or it is not served (3.1.2.11.4). */
  answer(packet: Buffer): void {
    if (packet.length <= this.#terms.maximumPacketSize) this.#stream.send(packet);
    else this.#stream.cut('PACKET_TOO_LARGE_FOR_CLIENT');
  }

  farewell(why: string): void {
    this.leave(farewells.get(why) ?? reason.administrativeAction, why);
  }

  /** Says why the connection ends, once. */
  leave(code: Reason, why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const explained = disconnect(code, this.#terms.wantsReasons ? why : undefined);
    const packet = explained.length <= this.#terms.maximumPacketSize ? explained : disconnect(code);
    if (packet.length <= this.#terms.maximumPacketSize) this.#stream.send(packet);
  }

  /** Nothing more is said: the client has said goodbye itself. */
  hush(): void {
    this.#isOver = true;
  }

  #secondsTo(expiresAt: number): number {
    return Math.max(0, Math.ceil((expiresAt - this.#now()) / 1_000));
  }
}

/** Reasons for which the broker cuts a connection; anybody's else are those of who administers it. */
const farewells = new Map<string, Reason>([
  ['TAKEN_OVER', reason.sessionTakenOver],
  ['BROKER_CLOSING', reason.serverShuttingDown],
  ['SUBSCRIBER_SLOW', reason.quotaExceeded],
  ['RETAINED_NOT_STORED', reason.serverBusy],
  ['its queue could not be read', reason.serverBusy],
  ['PACKET_TOO_LARGE', reason.packetTooLarge],
  ['PACKET_TOO_LARGE_FOR_CLIENT', reason.packetTooLarge],
  ['LENGTH_MALFORMED', reason.malformedPacket],
  ['KEEPALIVE_TIMEOUT', reason.keepAliveTimeout],
]);
