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
import type { Router } from './router.js';
import type { Session } from './session.js';

export interface InboundDependencies extends Pick<BrokerDependencies, 'store' | 'log' | 'handle'> {
  readonly router: Router;
}

type Done = (error?: Error) => void;

export class Inbound {
  readonly #deps: InboundDependencies;
  readonly #maxInbox: number;

  constructor(deps: InboundDependencies, maxInbox: number) {
    this.#deps = deps;
    this.#maxInbox = maxInbox;
  }

  /** `done` without an error lets the message be acknowledged, with one the client is disconnected. */
  take(connection: Connection, message: PublishRequest, done: Done): void {
    const { identity, session } = connection;
    const refused = refusalOf(connection, message, this.#maxInbox);
    if (identity === undefined || session === undefined || refused !== undefined) {
      done(refused);
      return;
    }
    const packetId = message.qos === 2 ? message.messageId : undefined;
    if (packetId !== undefined && session.inbox.has(packetId)) {
      this.#repeat(connection, session, packetId, done);
      return;
    }
    const decided = connection.decided.enter();
    const settle = packetId === undefined ? undefined : session.inbox.receive(packetId);
    const fail = (error: unknown): void => {
      settle?.(false);
      this.#failed(connection, message, error, done);
    };
    const finish = (): void => {
      settle?.(true);
      done();
    };
    this.#handle(connection, identity, message).then(
      (write) =>
        decided(() => this.#store(connection, session, message, write ?? [], finish, fail)),
      (error: unknown) => decided(() => fail(error)),
    );
  }

  /** A QoS 2 message that came before, maybe over a connection that is gone: it counts when that one does. */
  #repeat(connection: Connection, session: Session, packetId: number, done: Done): void {
    const decided = connection.decided.enter();
    void session.inbox
      .settled(packetId)
      .then((isStored) =>
        decided(() =>
          connection.stored.enter()(() =>
            done(isStored ? undefined : new HoldfastError('RESOURCE_CONFLICT', 'Send it again')),
          ),
        ),
      );
  }

  async #handle(
    connection: Connection,
    identity: Identity,
    { topic, payload, qos, retain }: PublishRequest,
  ): Promise<Write | undefined> {
    const { clientId, id: sessionId } = connection;
    return this.#deps.handle({ identity, clientId, topic, payload, qos, retain, sessionId });
  }

  /** One commit for the retained copy, every queued copy, the note against repetition, and what the door adds. */
  #store(
    connection: Connection,
    session: Session,
    message: PublishRequest,
    also: Write,
    done: () => void,
    fail: (error: unknown) => void,
  ): void {
    const stored = connection.stored.enter();
    const { topic, payload, qos, retain, messageId } = message;
    const prepared = this.#deps.router.prepare(
      { topic, payload, qos, retain },
      connection.owner,
      connection.clientId,
    );
    const write = [...prepared.write, ...also];
    if (qos === 2 && messageId !== undefined && session.isPersistent) {
      write.push(saveInbox(session.key, messageId));
    }
    const finish = (): void => {
      const pressure = prepared.deliver();
      if (pressure !== undefined) connection.stream.hold(pressure);
      done();
    };
    if (write.length === 0) {
      stored(finish);
      return;
    }
    const { commits } = this.#deps.store;
    commits.commit(write).then(
      () => stored(finish),
      (error: unknown) => {
        prepared.undo();
        stored(() => fail(error));
      },
    );
    if (commits.isFull) connection.stream.hold(commits.room());
  }

  /** Not acknowledged and disconnected, so that it is sent again; QoS 0 has no second chance and costs no connection. */
  #failed(connection: Connection, message: PublishRequest, error: unknown, done: Done): void {
    const { clientId } = connection;
    this.#deps.log.warn(
      { clientId, topic: message.topic, reason: messageOf(error) },
      'a publish was not stored',
    );
    done(message.qos === 0 ? undefined : error instanceof Error ? error : new Error(String(error)));
  }
}

const refusalOf = (
  { identity, session }: Connection,
  { topic, qos, messageId }: PublishRequest,
  maxInbox: number,
): HoldfastError | undefined => {
  if (identity === undefined || session === undefined) {
    return new HoldfastError('NOT_AUTHENTICATED', 'The client is not connected');
  }
  const decision = authorise(identity, 'publish', topic);
  if (!decision.allowed) {
    return new HoldfastError('NOT_AUTHORISED', `It may not publish to ${topic}`, {
      data: { reason: decision.reason },
    });
  }
  const isNew = qos === 2 && messageId !== undefined && !session.inbox.has(messageId);
  return isNew && session.inbox.size >= maxInbox
    ? new HoldfastError('REQUEST_TOO_LARGE', 'Too many QoS 2 messages wait for their PUBREL')
    : undefined;
};
