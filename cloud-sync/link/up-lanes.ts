/** What comes up a connection: batches of the journal, each lane in its order, acknowledged after their commit. */
import type { JournalBatch } from '@holdfast/protos/gen/holdfast/v1/link';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import type { GatewayIdentity } from './gateway-identity.js';
import { receiveBatch } from './journal-batch.js';
import { ingestBatch, type JournalIngestDependencies } from './journal-ingest.js';
import { laneNameOf, laneOf, lanePosition } from './lanes.js';
import type { LaneMeeting } from './meeting.js';
import type { LinkStream } from './stream.js';

export interface UpLanesDependencies extends JournalIngestDependencies {
  readonly log: { warn(data: object, message: string): void };
}

export interface UpLanesOptions {
  readonly gateway: GatewayIdentity;
  /** Bytes of batches that may be under way. */
  readonly windowBytes: number;
  /** Hears why a batch could not be taken in; the connection is to end. */
  readonly onFailure: (error: unknown) => void;
}

/** What a batch costs beside its entries: a flood of empty ones is held back too. */
const batchOverheadBytes = 512;

export class UpLanes {
  readonly #deps: UpLanesDependencies;
  readonly #stream: LinkStream;
  readonly #options: UpLanesOptions;
  readonly #turns: Record<LaneName, Promise<void>>;
  readonly #resetLogs = new Set<string>();
  #underWayBytes = 0;

  constructor(deps: UpLanesDependencies, stream: LinkStream, options: UpLanesOptions) {
    this.#deps = deps;
    this.#stream = stream;
    this.#options = options;
    const ready = Promise.resolve();
    this.#turns = { audit: ready, state: ready, telemetry: ready };
  }

  /** Tells which lanes do not go on from where they stand. */
  begin(lanes: readonly LaneMeeting[]): void {
    for (const { lane, log, resetReason } of lanes) {
      if (resetReason !== undefined) this.#reset(lane, log, resetReason);
    }
  }

  /** Errors: REQUEST_INVALID. */
  take(batch: JournalBatch): void {
    const lane = laneNameOf(batch.lane);
    const { windowBytes, onFailure } = this.#options;
    const bytes = batch.entries.length + batchOverheadBytes;
    this.#underWayBytes += bytes;
    // A gateway that keeps to its window never gets here; one that does not waits in its own socket.
    if (this.#underWayBytes > windowBytes) this.#stream.hold();
    this.#turns[lane] = this.#turns[lane]
      .then(() => this.#ingest(lane, batch))
      .catch(onFailure)
      .finally(() => {
        this.#underWayBytes -= bytes;
        if (this.#underWayBytes <= windowBytes) this.#stream.go();
      });
  }

  /** Resolves when nothing is being taken in. */
  async close(): Promise<void> {
    await Promise.allSettled(Object.values(this.#turns));
  }

  async #ingest(lane: LaneName, batch: JournalBatch): Promise<void> {
    if (this.#stream.ended.aborted || this.#resetLogs.has(`${lane}/${batch.log}`)) return;
    const received = await receiveBatch(batch);
    const result = await ingestBatch(this.#deps, this.#options.gateway, received);
    if (result.outcome === 'reset') {
      this.#reset(lane, received.log, result.reason);
      return;
    }
    const position = lanePosition(lane, received.log, result.position);
    this.#stream.say({ $case: 'journalCommitted', value: { position } });
  }

  /** Told once a connection: what is under way of that log comes to nothing. */
  #reset(lane: LaneName, log: string, reason: string): void {
    const { site } = this.#options.gateway;
    this.#resetLogs.add(`${lane}/${log}`);
    this.#deps.log.warn({ site, lane, log, reason }, 'a journal lane begins anew');
    this.#stream.say({ $case: 'laneReset', value: { lane: laneOf(lane), log, reason } });
  }
}
