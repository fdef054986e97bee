/**
 * Moves what a member of a group is owed to another member when it goes: what waits, and what it had with QoS 1 and did not acknowledge.
 * QoS 2 that was begun stays, since it could be delivered twice. What is on disk goes to a member that keeps it there, or stays.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Store, StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import { isShared } from '../trust/shared-filter.js';
import { dequeue } from './broker-rows.js';
import type { Outgoing } from './outgoing-queue.js';
import type { Session } from './session.js';
import { rowOf, type SessionQueues } from './session-queues.js';
import type { SharedGroups } from './shared-groups.js';

export interface SharingDependencies {
  readonly store: Pick<Store, 'commits'>;
  readonly log: StoreLog;
  readonly queues: SessionQueues;
  readonly groups: SharedGroups;
}

/** Copies moved in one commit. */
const page = 64;

export class Sharing {
  readonly #deps: SharingDependencies;

  constructor(deps: SharingDependencies) {
    this.#deps = deps;
  }

  /** A member's client is gone: those that are there go on with what it was owed. */
  async left(
    session: Session,
    names: Iterable<string> = session.subscriptions.keys(),
  ): Promise<void> {
    for (const name of [...names].filter(isShared)) await this.#move(session, name);
  }

  /** A member's client is there: it goes on with what waits for those who are not. */
  async arrived(session: Session): Promise<void> {
    for (const name of [...session.subscriptions.keys()].filter(isShared)) {
      for (const other of [...(this.#deps.groups.get(name)?.members.keys() ?? [])]) {
        if (other !== session && other.outlet === undefined) await this.#move(other, name);
      }
    }
  }

  /** All that a session which ends was owed by its groups. */
  take(session: Session): Outgoing[] {
    return [...session.subscriptions.keys()]
      .filter(isShared)
      .flatMap((name) => session.takeShared(name, Number.POSITIVE_INFINITY));
  }

  /** Gives what a session that has ended was owed to other members. */
  async adopt(session: Session, copies: readonly Outgoing[]): Promise<void> {
    for (let at = 0; at < copies.length; at += page) {
      const some = copies.slice(at, at + page);
      const left = await this.#give(session, some, false);
      if (left.length > 0) this.#deps.queues.dropped(session, left, 'SESSION_EXPIRED');
    }
  }

  async #move(session: Session, name: string): Promise<void> {
    for (;;) {
      const group = this.#deps.groups.get(name);
      // Nobody is there who could have it: it waits where it is.
      const next = group?.pick(1, session.isPersistent);
      if (next === undefined || next[0] === session || next[0].outlet === undefined) return;
      // Given more than it has room for, it would let go what is safe here.
      if (!next[0].queue.hasRoomFor(1, 0)) return this.#goOnLater(next[0]);
      const copies = session.takeShared(name, page);
      if (copies.length === 0) return;
      const left = await this.#give(session, copies, true);
      for (const copy of left) session.deliver(copy);
      if (left.length > 0) return;
    }
  }

  #goOnLater(member: Session): void {
    member.whenShort(() => void this.arrived(member));
  }

  /** The answer is what nobody could be given. */
  async #give(
    from: Session,
    copies: readonly Outgoing[],
    mustBeHere: boolean,
  ): Promise<Outgoing[]> {
    const { queues, groups, store, log } = this.#deps;
    const left: Outgoing[] = [];
    const given: { from: Outgoing; to: Session; copy: Outgoing }[] = [];
    const write: Write[number][] = [];
    const more = new Map<Session, { count: number; bytes: number }>();
    try {
      await queues.load(copies.filter(({ message }) => message === undefined));
      for (const old of copies) {
        const { message, qos, share } = old;
        const picked = groups.get(share ?? '')?.pick(qos, from.isPersistent);
        const to = picked?.[0];
        const isHere = to?.outlet !== undefined;
        if (message === undefined || to === undefined || to === from || (mustBeHere && !isHere)) {
          left.push(old);
          continue;
        }
        const { count, bytes } = more.get(to) ?? { count: 0, bytes: 0 };
        if (mustBeHere && !to.queue.hasRoomFor(count + 1, bytes + old.size)) {
          this.#goOnLater(to);
          left.push(old);
          continue;
        }
        more.set(to, { count: count + 1, bytes: bytes + old.size });
        const copy = queues.outgoing(to, message, qos, share);
        given.push({ from: old, to, copy });
        if (to.isPersistent) write.push(rowOf(to, copy));
      }
      if (from.isPersistent) write.push(dequeue(given.map((one) => one.from.seq)));
      if (write.length > 0) await store.commits.commit(write);
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'messages of a group stay with a member that is gone');
      for (const { to, copy } of given) to.queue.forgetPacketId(copy.packetId ?? 0);
      return [...copies];
    }
    for (const { from: old, to, copy } of given) {
      if (old.packetId !== undefined) from.queue.forgetPacketId(old.packetId);
      to.deliver(copy);
    }
    return left;
  }
}
