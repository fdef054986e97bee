/**
 * The protocol of one MQTT 5 client, on the broker's own messages and sessions as Aedes is for MQTT 3: its packets in their order,
 * keepalive, and a reason for whatever ends the connection.
 */
import type { ClientStream } from '../client-stream.js';
import type { Connection } from '../connection.js';
import { type Accepted, answerConnect, type Mqtt5Limits } from './connect.js';
import {
  type Parsed,
  parseAcknowledgement,
  parseDisconnect,
  parsePublish,
  parseSubscribe,
  parseUnsubscribe,
  sessionExpiryOf,
} from './packets-in.js';
import type { Mqtt5Dependencies, Peer } from './peer.js';
import { Publishing } from './publishing.js';
import { packetType, type Reason, reason } from './reason.js';
import { subscribe, unsubscribe } from './subscribing.js';

export class Mqtt5Client implements Peer {
  readonly connection: Connection;
  readonly #deps: Mqtt5Dependencies;
  readonly #limits: Mqtt5Limits;
  readonly #stream: ClientStream;
  readonly #publishing: Publishing;
  #accepted: Accepted | undefined;
  #keepalive: NodeJS.Timeout | undefined;
  #isWorking = false;
  /** DISCONNECT came, and its will is not to be published. */
  #isOrderly = false;
  #isOver = false;

  constructor(
    deps: Mqtt5Dependencies,
    limits: Mqtt5Limits,
    connection: Connection,
    stream: ClientStream,
  ) {
    this.#deps = deps;
    this.#limits = limits;
    this.connection = connection;
    this.#stream = stream;
    this.#publishing = new Publishing(deps, limits, this);
  }

  /** With the first packet of the connection, a CONNECT of version 5. */
  async begin(connect: Buffer): Promise<void> {
    const { connection } = this;
    const stream = this.#stream;
    stream.once('close', () => this.#closed());
    this.#accepted = await answerConnect(this.#deps, this.#limits, connection, stream, connect);
    if (this.#accepted === undefined) return;
    const { keepaliveS } = this.#accepted;
    if (keepaliveS > 0) {
      const onSilence = (): void => stream.cut('KEEPALIVE_TIMEOUT');
      // One and a half times what was agreed (3.1.2.10).
      this.#keepalive = setTimeout(onSilence, keepaliveS * 1_500);
    }
    stream.on('readable', () => this.#next());
    this.#deps.hooks.ready(connection);
    this.#next();
  }

  answer(packet: Buffer): void {
    this.#accepted?.outlet.answer(packet);
  }

  leave(code: Reason, why: string): void {
    this.#isOver = true;
    this.#accepted?.outlet.leave(code, why);
    this.#stream.cut(why);
  }

  #closed(): void {
    const { hooks } = this.#deps;
    this.#isOver = true;
    clearTimeout(this.#keepalive);
    this.#publishing.stop();
    if (this.#accepted !== undefined && !this.#isOrderly) {
      hooks.will(this.connection).catch((error: unknown) => hooks.failed(this.connection, error));
    }
    hooks.gone(this.connection, this.#isOrderly);
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
        this.#deps.hooks.failed(this.connection, error);
        this.leave(reason.serverBusy, 'it could not be stored');
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
    if (!this.#isOver) await this.#publishing.idle();
  }

  /** One packet; what comes behind it waits for what it gives back. */
  #take(bytes: Buffer, first: number, at: number, end: number): Promise<void> | undefined {
    const type = first >> 4;
    if (type !== packetType.publish && (first & 15) !== (flagsOf.get(type) ?? 0)) {
      this.leave(reason.malformedPacket, 'the flags of a packet are not its own');
      return undefined;
    }
    const limits = this.#limits;
    const from = [bytes, at, end, limits] as const;
    switch (type) {
      case packetType.publish:
        return this.#with(parsePublish(bytes, first, at, end, limits), (packet) => {
          this.#publishing.take(packet);
          return undefined;
        });
      case packetType.puback:
      case packetType.pubrec:
      case packetType.pubrel:
      case packetType.pubcomp:
        return this.#with(parseAcknowledgement(...from), (packet) =>
          this.#publishing.acknowledged(type, packet),
        );
      case packetType.subscribe:
        return this.#with(parseSubscribe(...from), (packet) => subscribe(this.#deps, this, packet));
      case packetType.unsubscribe:
        return this.#with(parseUnsubscribe(...from), (packet) =>
          unsubscribe(this.#deps, this, packet),
        );
      case packetType.pingreq:
        this.answer(pingresp);
        return undefined;
      case packetType.disconnect:
        return this.#with(parseDisconnect(...from), (packet) => this.#disconnected(packet));
      default:
        // A second CONNECT, an AUTH that nobody asked for, or what only a server says.
        this.leave(reason.protocolError, 'a packet was not expected');
        return undefined;
    }
  }

  #with<T>(
    parsed: Parsed<T>,
    act: (packet: T) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    if ('value' in parsed) return act(parsed.value);
    this.leave(parsed.fault, 'a packet is malformed or breaks the protocol');
    return undefined;
  }

  #disconnected({
    code,
    sessionExpiryS,
  }: {
    readonly code: number;
    readonly sessionExpiryS: number | undefined;
  }): undefined {
    const { session } = this.connection;
    if (sessionExpiryS !== undefined && session !== undefined) {
      if (sessionExpiryS > 0 && this.#accepted?.sessionExpiryS === 0) {
        this.leave(reason.protocolError, 'a session that was to end cannot go on');
        return undefined;
      }
      this.#deps.sessions.setExpiry(session, sessionExpiryOf(sessionExpiryS));
    }
    this.#isOver = true;
    // Any other reason has the will published (3.14.4).
    this.#isOrderly = code === reason.success;
    this.#accepted?.outlet.hush();
    this.#stream.destroy();
    return undefined;
  }
}

const flagsOf = new Map<number, number>([
  [packetType.pubrel, 2],
  [packetType.subscribe, 2],
  [packetType.unsubscribe, 2],
]);

const pingresp = Buffer.from([packetType.pingresp << 4, 0]);
