/**
 * Sends the lanes of the journal over one connection after the other: from where the control plane stands, as its window allows, what
 * matters most first.
 */

import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type JournalBatch, Lane as WireLane } from '@holdfast/protos/gen/holdfast/v1/link';
import { packEntries } from '@holdfast/protos/link/journal-batch';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import { chainStart } from '@holdfast/protos/semantics/journal-chain';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Lane, Position } from './lane.js';
import { SendWindow } from './send-window.js';

export interface JournalSenderDeps {
  /** In the order in which they are sent. */
  readonly lanes: readonly Lane[];
  readonly clock: Clock;
  readonly log: StoreLog;
}

/** Where the control plane stands in a log. */
export interface Committed extends Position {
  readonly lane: LaneName;
  readonly log: string;
}

/** What one connection gives the sender. */
export interface Carrier {
  readonly windowBytes: number;
  send(batch: JournalBatch): void;
  /** The connection is of no more use: it is to be made anew. */
  fail(reason: string): void;
}

interface Session {
  readonly carrier: Carrier;
  readonly window: SendWindow;
  /** How far each lane was sent; a lane that is not in here waits for where it stands. */
  readonly sent: Map<LaneName, Position>;
  resets: number;
  isPumping: boolean;
  isStale: boolean;
}

/** Bytes of a batch before compression. Those of telemetry are small, so that nothing waits long behind one. */
const batchBytes: Record<LaneName, number> = {
  audit: 1024 * 1024,
  state: 1024 * 1024,
  telemetry: 512 * 1024,
};
/** A control plane that gives up one log after the other would have us send everything again and again. */
const maxResets = 6;

const wireLanes: Record<LaneName, WireLane> = {
  audit: WireLane.LANE_AUDIT,
  state: WireLane.LANE_STATE,
  telemetry: WireLane.LANE_TELEMETRY,
};
export const wireLaneOf = (lane: LaneName): WireLane => wireLanes[lane];

/** Undefined for a lane that this program does not know. */
export const laneNameOf = (lane: WireLane): LaneName | undefined =>
  (Object.keys(wireLanes) as LaneName[]).find((name) => wireLanes[name] === lane);

export class JournalSender {
  readonly #deps: JournalSenderDeps;
  #session: Session | undefined;
  #work: Promise<unknown> = Promise.resolve();

  constructor(deps: JournalSenderDeps) {
    this.#deps = deps;
  }

  /** Bytes under way; for tests and figures. */
  get bytesUnderWay(): number {
    return this.#session?.window.bytes ?? 0;
  }

  /** Begins to send over a connection; each lane waits for `stands`. Ends what was sent over the one before. */
  meet(carrier: Carrier): void {
    this.#session = {
      carrier,
      window: new SendWindow({ windowBytes: carrier.windowBytes }),
      sent: new Map(),
      resets: 0,
      isPumping: false,
      isStale: false,
    };
  }

  /** Where the control plane stands in each lane; in one that it does not name, it has nothing. */
  stands(committed: readonly Committed[]): void {
    for (const lane of this.#deps.lanes) {
      this.#begin(
        lane,
        committed.find((one) => one.lane === lane.lane && one.log === lane.log),
      );
    }
  }

  #begin(lane: Lane, stands: Committed | undefined): void {
    const session = this.#session;
    if (!session) return;
    this.#run(session, async () => {
      session.sent.set(lane.lane, await this.#resume(lane, stands));
      this.pump();
    });
  }

  /** The connection is over. */
  part(): void {
    this.#session = undefined;
  }

  /** Resolves when nothing of the sender is under way on disk. */
  idle(): Promise<void> {
    return this.#work.then(() => undefined);
  }

  /** The control plane has everything of a log up to a position. The first one of a lane that did not begin yet says where it stands. */
  committed(position: Committed): void {
    const { lane: name, log, seq } = position;
    const session = this.#session;
    const lane = this.#deps.lanes.find((one) => one.lane === name);
    // Else of a log that was given up meanwhile.
    if (!session || !lane || log !== lane.log) return;
    const sent = session.sent.get(name);
    if (!sent) {
      this.#begin(lane, position);
      return;
    }
    // What leaves is sealed first.
    if (seq > lane.sealed.seq) {
      session.carrier.fail('more was acknowledged than was sent');
      return;
    }
    if (seq > sent.seq) {
      // A batch of the connection before was committed after this one's welcome: the lane goes on from there, if the chain is ours.
      session.sent.delete(name);
      session.window.forget(name);
      this.#begin(lane, position);
      return;
    }
    session.window.committed(name, seq, this.#deps.clock.monotonic());
    this.#run(session, () => lane.acknowledge(seq));
    this.pump();
  }

  /** The control plane cannot go on in a log. */
  reset({ lane: name, log, reason }: { lane: LaneName; log: string; reason: string }): void {
    const session = this.#session;
    const lane = this.#deps.lanes.find((one) => one.lane === name);
    if (!session || !lane || log !== lane.log) return;
    session.resets += 1;
    if (session.resets > maxResets) {
      session.carrier.fail('one log after the other is refused');
      return;
    }
    session.sent.delete(name);
    session.window.forget(name);
    this.#run(session, async () => {
      session.sent.set(name, await this.#startNewLog(lane, reason));
      this.pump();
    });
  }

  /** Sends what there is and the window allows. To be called when there is more of either. */
  pump(): void {
    const session = this.#session;
    if (!session) return;
    session.isStale = true;
    if (session.isPumping) return;
    session.isPumping = true;
    this.#run(session, async () => {
      try {
        while (session.isStale) {
          session.isStale = false;
          while (await this.#sendNext(session));
        }
      } finally {
        session.isPumping = false;
      }
    });
  }

  /** Looks for new entries in lanes that are not told of them, and sends them. */
  async refresh(): Promise<void> {
    for (const lane of this.#deps.lanes) await lane.refresh();
    this.pump();
  }

  /** Where to go on: where the control plane stands, when that is a place in our chain. */
  async #resume(lane: Lane, stands: Committed | undefined): Promise<Position> {
    const seq = stands?.seq ?? 0;
    if (!stands || seq === 0) {
      // Entries that were acknowledged may be pruned, and then the log cannot begin at its beginning again.
      if (lane.acknowledged === 0) return { seq: 0, chain: chainStart };
      return this.#startNewLog(lane, 'the control plane does not know it any more');
    }
    const chain = await lane.chainAt(seq);
    if (!chain || Buffer.compare(chain, stands.chain) !== 0) {
      return this.#startNewLog(lane, 'the control plane has something else in it');
    }
    await lane.resume(seq);
    return { seq, chain };
  }

  async #startNewLog(lane: Lane, reason: string): Promise<Position> {
    const given = lane.log;
    await lane.startNewLog(reason);
    this.#deps.log.warn({ lane: lane.lane, given, log: lane.log, reason }, 'a log was given up');
    return { seq: 0, chain: chainStart };
  }

  /** From the first lane that has something and may send it; whether there was one. */
  async #sendNext(session: Session): Promise<boolean> {
    for (const lane of this.#deps.lanes) {
      const sent = session.sent.get(lane.lane);
      const room = session.window.room(lane.lane);
      if (!sent || room === 0 || lane.last <= sent.seq) continue;
      const batch = await lane.read(sent, Math.min(room, batchBytes[lane.lane]));
      if (!batch) continue;
      const entries = await packEntries(batch.entries);
      // Meanwhile the connection may have ended, or the log been given up.
      if (session !== this.#session) return false;
      if (session.sent.get(lane.lane) !== sent || batch.log !== lane.log) return true;
      session.sent.set(lane.lane, { seq: batch.lastSeq, chain: batch.chain });
      session.window.sent(lane.lane, batch.lastSeq, entries.length, this.#deps.clock.monotonic());
      session.carrier.send({
        lane: wireLaneOf(lane.lane),
        log: batch.log,
        firstSeq: BigInt(batch.firstSeq),
        lastSeq: BigInt(batch.lastSeq),
        previousChain: Buffer.from(batch.previousChain),
        chain: Buffer.from(batch.chain),
        entries,
        uncompressedBytes: Buffer.byteLength(batch.entries),
      });
      return true;
    }
    return false;
  }

  /** What fails ends the connection, if it is still that one: the next finds out where things stand. */
  #run(session: Session, work: () => Promise<unknown>): void {
    const done = work().catch((error: unknown) => {
      this.#deps.log.error({ err: error }, 'the journal could not be sent');
      if (session === this.#session) session.carrier.fail(messageOf(error));
    });
    this.#work = Promise.all([this.#work, done]);
  }
}
