/**
 * How a batch of one lane's entries is packed, and when it continues what is already there (link.proto, JournalBatch). Both ends
 * use these, so that a batch that one of them makes is never one that the other cannot take.
 */
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import * as v from 'valibot';
import { HoldfastError } from '../errors/holdfast-error.js';
import { type JournalEntry, journalEntry } from './journal-entries.js';

/** Bytes of a batch's entries before compression, at most. A single entry is never larger. */
export const maxBatchBytes = 4 * 1024 * 1024;

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);
const range = v.object({ from: v.number() });
const entries = v.array(journalEntry);

/**
 * The first sequence number that an entry accounts for. An entry that stands for others (`dropped`, `compacted`) has the sequence
 * number of the last of them and names the first: so a lane has no hole although entries were taken out of it.
 */
export const firstSeqOf = (entry: JournalEntry): number => {
  if (entry.kind !== 'dropped' && entry.kind !== 'compacted') return entry.seq;
  const body = v.safeParse(range, entry.body);
  return body.success && body.output.from <= entry.seq ? body.output.from : entry.seq;
};

/** Whether entries stand in order and without a hole, the first of them accounting for `firstSeq`. */
export const isWithoutHole = (firstSeq: number, entries: readonly JournalEntry[]): boolean => {
  let expected = firstSeq;
  for (const entry of entries) {
    if (firstSeqOf(entry) !== expected) return false;
    expected = entry.seq + 1;
  }
  return true;
};

/**
 * Whether a batch that begins at `firstSeq` after `previousChain` goes on where a log stands. A log of which nothing is committed
 * (`seq` 0) may begin anywhere: what came before was acknowledged under an older log and is no longer kept.
 */
export const continues = (
  committed: { readonly seq: number; readonly chain: Uint8Array },
  batch: { readonly firstSeq: number; readonly previousChain: Uint8Array },
): boolean =>
  committed.seq === 0
    ? batch.previousChain.length === 0
    : batch.firstSeq === committed.seq + 1 &&
      Buffer.compare(batch.previousChain, committed.chain) === 0;

/** Level 1: the compressor may meet a backlog of gigabytes on a small machine; most of the gain is in the first level. */
export const packEntries = (canonicalJson: string): Promise<Buffer> =>
  deflate(canonicalJson, { level: 1 });

/**
 * The entries of a batch. Throws REQUEST_TOO_LARGE before inflating more than was stated or allowed, REQUEST_INVALID for what is
 * not a batch or has a hole.
 */
export const unpackEntries = async (
  packed: Uint8Array,
  stated: {
    readonly uncompressedBytes: number;
    readonly firstSeq: number;
    readonly lastSeq: number;
  },
): Promise<JournalEntry[]> => {
  if (stated.uncompressedBytes > maxBatchBytes) {
    throw new HoldfastError('REQUEST_TOO_LARGE', 'a journal batch is larger than 4 MiB');
  }
  const text = await inflate(packed, { maxOutputLength: stated.uncompressedBytes }).catch(
    (cause: unknown) => {
      throw new HoldfastError('REQUEST_INVALID', 'a journal batch cannot be unpacked', { cause });
    },
  );
  const parsed = v.safeParse(entries, parseJson(text));
  if (!parsed.success) throw new HoldfastError('REQUEST_INVALID', 'not a batch of journal entries');
  if (
    !isWithoutHole(stated.firstSeq, parsed.output) ||
    parsed.output.at(-1)?.seq !== stated.lastSeq
  ) {
    throw new HoldfastError('REQUEST_INVALID', 'a journal batch has a hole', { data: stated });
  }
  return parsed.output;
};

const parseJson = (text: Buffer): unknown => {
  try {
    return JSON.parse(text.toString('utf8'));
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'a journal batch is not JSON', { cause });
  }
};
