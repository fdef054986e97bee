/**
 * What clients have published should their connection be lost: stored with CONNECT, published at once or after the delay its client asked
 * for, and not at all when the client is back by then.
 */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Wait } from '@holdfast/provisioning/time/wait';
import type { Identity } from '../trust/identity.js';
import type { BrokerDependencies } from './broker.js';
import { removeWill, saveWill, saveWillDue, type WillRow } from './broker-rows.js';
import { type Connection, ownerOf } from './connection.js';
import { Deadlines } from './deadlines.js';
import type { Message } from './message.js';
import type { Router } from './router.js';

export interface Will extends Omit<Message, 'expiresAt'> {
  /** How long the message is good for once it is published, ms. */
  readonly expiryMs?: number | undefined;
  readonly delayMs?: number | undefined;
}

export interface WillDependencies extends Pick<BrokerDependencies, 'store' | 'log' | 'handle'> {
  readonly router: Router;
  /** The broker's elapsed time. */
  readonly elapsed: () => number;
  readonly wait?: Wait;
  readonly may: (who: Identity, topic: string) => boolean;
}

export class Wills {
  readonly #deps: WillDependencies;
  readonly #due: Deadlines<string>;
  /** Those that wait for their time, by session. */
  readonly #waiting = new Map<string, WillRow>();
  readonly #publishing = new Set<Promise<void>>();

  constructor(deps: WillDependencies) {
    this.#deps = deps;
    const { elapsed: now, wait } = deps;
    this.#due = new Deadlines({ now, ...(wait !== undefined && { wait }) }, (session) => {
      const will = this.#take(session);
      if (will !== undefined) this.#publishLater(will);
    });
  }

  /** Those of the last run: its clients lost their connections with it. */
  async restore(rows: readonly WillRow[]): Promise<void> {
    const now = this.#deps.elapsed();
    for (const will of rows) {
      const dueAt = will.dueAt ?? now + will.delay;
      if (dueAt > now) await this.#await(will, dueAt);
      else await this.#publish(will);
    }
  }

  async store(connection: Connection): Promise<void> {
    const row = rowOf(connection);
    if (row !== undefined) await this.#deps.store.commits.commit([saveWill(row)]);
  }

  /** The connection ended without a word. */
  async lost(connection: Connection): Promise<void> {
    const will = rowOf(connection);
    if (will === undefined) return;
    const { session, clientId } = connection;
    const delay = Math.min(will.delay, session?.expiryMs ?? 0);
    if (delay === 0 || session === undefined || session.isEnded) {
      await this.#publish(will, clientId);
    } else if (session.holder !== undefined && session.holder !== connection) {
      await this.withdraw(connection);
    } else {
      await this.#await(will, this.#deps.elapsed() + delay);
    }
  }

  /** DISCONNECT came. */
  async withdraw({ sessionName, id }: Connection): Promise<void> {
    await this.#deps.store.commits.commit([removeWill(sessionName, id)]);
  }

  /** The client is back: with the session that the will belongs to, or that session has ended just now. */
  async returned(sessionName: string, isResumed: boolean): Promise<void> {
    const will = this.#take(sessionName);
    if (will === undefined) return;
    if (isResumed)
      await this.#deps.store.commits.commit([removeWill(will.clientId, will.connection)]);
    else await this.#publish(will);
  }

  /** A device that will not come back has none. */
  async forget(device: string): Promise<void> {
    for (const will of [...this.#waiting.values()]) {
      if (will.identity?.kind !== 'device' || will.identity.device !== device) continue;
      this.#take(will.clientId);
      await this.#deps.store.commits.commit([removeWill(will.clientId, will.connection)]);
    }
  }

  /** Those that wait stay stored. */
  async close(): Promise<void> {
    this.#due.close();
    this.#waiting.clear();
    await Promise.all(this.#publishing);
  }

  async #await(will: WillRow, dueAt: number): Promise<void> {
    this.#waiting.set(will.clientId, will);
    this.#due.set(will.clientId, dueAt);
    await this.#deps.store.commits.commit([saveWillDue(will.clientId, will.connection, dueAt)]);
  }

  #take(session: string): WillRow | undefined {
    const will = this.#waiting.get(session);
    this.#waiting.delete(session);
    this.#due.delete(session);
    return will;
  }

  #publishLater(will: WillRow): void {
    const publishing = this.#publish(will).catch((error: unknown) =>
      this.#deps.log.warn({ reason: messageOf(error) }, 'a will waits for the next start'),
    );
    this.#publishing.add(publishing);
    void publishing.then(() => this.#publishing.delete(publishing));
  }

  /** Publishes and removes it, in one commit; it stays stored when that fails. */
  async #publish(will: WillRow, clientId: string = will.clientId): Promise<void> {
    const { identity, topic, payload, qos, retain, properties, expiry } = will;
    const { commits } = this.#deps.store;
    const removal = removeWill(will.clientId, will.connection);
    if (identity === null || !this.#deps.may(identity, topic)) {
      // Its right is gone for good: kept, it would be asked for at every start.
      await commits
        .commit([removal])
        .catch((error: unknown) =>
          this.#deps.log.warn({ clientId, topic, reason: messageOf(error) }, 'a will stays stored'),
        );
      return;
    }
    const message: Message = {
      ...{ topic, payload, qos, retain },
      ...(properties !== null && { properties }),
      ...(expiry !== null && { expiresAt: this.#deps.elapsed() + expiry }),
    };
    try {
      const { connection: sessionId } = will;
      const said = { topic, payload, qos, retain, identity, clientId, sessionId };
      const write = await this.#deps.handle(said);
      const also = [...(write ?? []), removal];
      await this.#deps.router.route(message, ownerOf(identity), clientId, { also });
    } catch (error) {
      const isFinal = isHoldfastError(error) && !error.isRetryable;
      this.#deps.log.warn(
        { clientId, topic, reason: messageOf(error) },
        isFinal ? 'a will was refused' : 'a will waits for the next start',
      );
      if (isFinal) await commits.commit([removal]);
    }
  }
}

const rowOf = ({ will, identity, sessionName, id }: Connection): WillRow | undefined =>
  will === undefined || identity === undefined
    ? undefined
    : {
        ...{ topic: will.topic, payload: will.payload, qos: will.qos, retain: will.retain },
        clientId: sessionName,
        connection: id,
        identity,
        properties: will.properties ?? null,
        expiry: will.expiryMs ?? null,
        delay: will.delayMs ?? 0,
        dueAt: null,
      };
