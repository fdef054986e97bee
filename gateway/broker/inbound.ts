/**
 * A client's publish on its way in: authorised, handled, and with every copy it owes on disk before it is acknowledged; in the order in
 * which the client sent them.
 */
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Write } from '@holdfast/provisioning/storage/write';
import { authorise } from '../trust/authorise.js';
import type { Identity } from '../trust/identity.js';
import type { BrokerDependencies } from './broker.js';
import { saveInbox } from './broker-rows.js';
import type { Connection } from './connection.js';
import type { PublishRequest } from './protocol.js';
import { nobody, type Prepared, type Router } from './router.js';
import type { Session } from './session.js';

export interface InboundDependencies
  extends Pick<BrokerDependencies, 'store' | 'log' | 'handle' | 'onRefused'> {
  readonly router: Router;
}

/** Called once: without an error the message may be acknowledged, with one the client is to be disconnected. */
export type Done = (error?: Error) => void;

export class Inbound {
  readonly #deps: InboundDependencies;
  readonly #maxInbox: number;

  constructor(deps: InboundDependencies, maxInbox: number) {
    this.#deps = deps;
    this.#maxInbox = maxInbox;
  }

  take(connection: Connection, message: PublishRequest, done: Done): void {
    const { identity, session } = connection;
    const refused = this.#refusalOf(connection, message);
    const goesNowhere = refused !== undefined && isTakenInVain(connection, refused);
    if (
      identity === undefined ||
      session === undefined ||
      (refused !== undefined && !goesNowhere)
    ) {
      done(refused);
      return;
    }
    const packetId = message.qos === 2 ? message.messageId : undefined;
    if (packetId !== undefined && session.inbox.has(packetId)) {
      this.#repeat(connection, session, packetId, done);
      return;
    }
    const settle = packetId === undefined ? undefined : session.inbox.receive(packetId);
    const taken: Taken = { connection, session, message, done, settle, goesNowhere };
    let owed: Promise<Write | undefined> | undefined;
    try {
      if (!goesNowhere) owed = this.#handle(connection, identity, message);
    } catch (error) {
      owed = Promise.reject(error);
    }
    const { decided } = connection;
    if (owed === undefined) {
      decided.run(() => this.#store(taken, undefined));
      return;
    }
    const place = decided.enter();
    owed.then(
      (write) => decided.settle(place, () => this.#store(taken, write)),
      (error: unknown) => decided.settle(place, () => this.#fail(taken, error)),
    );
  }

  /** A QoS 2 message that came before, maybe over a connection that is gone: it counts when that one does. */
  #repeat({ decided, stored }: Connection, session: Session, packetId: number, done: Done): void {
    const place = decided.enter();
    const answer = (isStored: boolean): void =>
      done(isStored ? undefined : new HoldfastError('RESOURCE_CONFLICT', 'Send it again'));
    void session.inbox
      .settled(packetId)
      .then((isStored) => decided.settle(place, () => stored.run(() => answer(isStored))));
  }

  #refusalOf(
    { identity, session }: Connection,
    { topic, qos, messageId }: PublishRequest,
  ): HoldfastError | undefined {
    if (identity === undefined || session === undefined) {
      return new HoldfastError('NOT_AUTHENTICATED', 'The client is not connected');
    }
    const decision = authorise(identity, 'publish', topic);
    if (!decision.allowed) {
      const { reason } = decision;
      this.#deps.onRefused?.({ who: identity, verb: 'publish', what: topic, reason });
      const message = `It may not publish to ${topic.slice(0, 256)}`;
      return new HoldfastError('NOT_AUTHORISED', message, { data: { reason } });
    }
    const isNew = qos === 2 && messageId !== undefined && !session.inbox.has(messageId);
    return isNew && session.inbox.size >= this.#maxInbox
      ? new HoldfastError('REQUEST_TOO_LARGE', 'Too many QoS 2 messages wait for their PUBREL')
      : undefined;
  }

  #handle(
    connection: Connection,
    identity: Identity,
    { topic, payload, qos, retain }: PublishRequest,
  ): Promise<Write | undefined> | undefined {
    const { clientId, id: sessionId } = connection;
    return this.#deps.handle({ identity, clientId, topic, payload, qos, retain, sessionId });
  }

  /** One commit for the retained copy, every queued copy, the note against repetition, and what the door adds. */
  #store(taken: Taken, also: Write | undefined): void {
    const { connection, session, message, goesNowhere } = taken;
    const { stored, owner, clientId } = connection;
    const prepared = goesNowhere
      ? nobody
      : this.#deps.router.prepare(message, owner, clientId, session.clientId);
    const write = [...prepared.write, ...(also ?? [])];
    if (message.qos === 2 && message.messageId !== undefined && session.isPersistent) {
      write.push(saveInbox(session.key, message.messageId));
    }
    if (write.length === 0) {
      stored.run(() => finish(taken, prepared));
      return;
    }
    const place = stored.enter();
    const { commits } = this.#deps.store;
    commits.commit(write).then(
      () => stored.settle(place, () => finish(taken, prepared)),
      (error: unknown) => {
        prepared.undo();
        stored.settle(place, () => this.#fail(taken, error));
      },
    );
    if (commits.isFull) connection.stream.hold(commits.room());
  }

  /** Not acknowledged and disconnected, so that it is sent again; QoS 0 has no second chance and costs no connection. */
  #fail({ connection, message, done, settle }: Taken, error: unknown): void {
    settle?.(false);
    const { clientId } = connection;
    this.#deps.log.warn(
      { clientId, topic: message.topic, reason: messageOf(error) },
      'a publish was not stored',
    );
    done(message.qos === 0 ? undefined : error instanceof Error ? error : new Error(String(error)));
  }
}

/** A publish that is being worked on. */
interface Taken {
  readonly connection: Connection;
  readonly session: Session;
  readonly message: PublishRequest;
  readonly done: Done;
  /** Of a QoS 2 message: tells its repetitions whether it was stored. */
  readonly settle: ((isStored: boolean) => void) | undefined;
  /** It is acknowledged, and that is all. */
  readonly goesNowhere: boolean;
}

/**
 * What begins with `$` is the server's (3.1.1, 4.7.2): a service may say it and nobody hears it, which is told as refused. MQTT 3.1.1 can
 * only acknowledge or hang up (3.3.5); MQTT 5 has a reason for it.
 */
const isTakenInVain = ({ identity, mqtt5 }: Connection, refused: HoldfastError): boolean =>
  identity?.kind === 'service' && mqtt5 === undefined && refused.data?.reason === 'TOPIC_RESERVED';

const finish = ({ connection, done, settle }: Taken, prepared: Prepared): void => {
  const pressure = prepared.deliver();
  if (pressure !== undefined) connection.stream.hold(pressure);
  settle?.(true);
  done();
};
