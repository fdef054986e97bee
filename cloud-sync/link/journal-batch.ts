/** A batch of the journal as it comes in: unpacked, and its hash chain recomputed, before anything of it is believed. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JournalBatch } from '@holdfast/protos/gen/holdfast/v1/link';
import { unpackEntries } from '@holdfast/protos/link/journal-batch';
import type { JournalEntry, LaneName } from '@holdfast/protos/link/journal-entries';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { chainAfter } from '@holdfast/protos/semantics/journal-chain';
import { laneNameOf, requireChain, requireCount, requireLog } from './lanes.js';

/** An entry with its body's canonical text, and the chain after it. */
export interface ChainedJournalEntry extends JournalEntry {
  readonly text: string;
  readonly chain: Uint8Array;
}

export interface ReceivedBatch {
  readonly lane: LaneName;
  readonly log: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly previousChain: Uint8Array;
  readonly chain: Uint8Array;
  readonly entries: readonly ChainedJournalEntry[];
}

/** Errors: REQUEST_INVALID, REQUEST_TOO_LARGE. */
export const receiveBatch = async (batch: JournalBatch): Promise<ReceivedBatch> => {
  const lane = laneNameOf(batch.lane);
  const log = requireLog(batch.log);
  const firstSeq = requireCount(batch.firstSeq, 'first_seq');
  const lastSeq = requireCount(batch.lastSeq, 'last_seq');
  const previousChain = requireChain(batch.previousChain);
  const unpacked = await unpackEntries(batch.entries, {
    uncompressedBytes: batch.uncompressedBytes,
    firstSeq,
    lastSeq,
  });
  let chain = previousChain;
  const entries = unpacked.map((entry) => {
    const text = canonicalJson(entry.body);
    chain = chainAfter(chain, lane, [{ seq: entry.seq, kind: entry.kind, body: text }]);
    return { ...entry, text, chain };
  });
  if (Buffer.compare(chain, requireChain(batch.chain)) !== 0) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'the entries of a batch do not make its hash chain',
      {
        data: { lane, firstSeq, lastSeq },
      },
    );
  }
  return { lane, log, firstSeq, lastSeq, previousChain, chain, entries };
};
