/**
 * Makes a delta in a process of its own, at a low priority: it takes seconds for a megabyte of image, and memory of about six times
 * the source and four times the image, which is all given back at its end.
 */
import { rm, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { runChild } from '../program/children.js';
import { deltaFormat } from './delta-format.js';

export interface DeltaOrder {
  /** The image that devices have; null for nothing, which gives the target, compressed. */
  readonly source: string | null;
  readonly target: string;
  /** Where the delta goes. */
  readonly delta: string;
  /** It is given up when it becomes larger. */
  readonly maxBytes?: number;
  /** Brotli's, 0 to 11; 11 unless given. */
  readonly quality?: number;
}

export interface DeltaLimits {
  readonly signal: AbortSignal;
  readonly deadlineMs?: number;
  /** Of source and target each: what bounds the memory. */
  readonly maxImageBytes?: number;
}

export interface MadeDelta {
  readonly format: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The most memory that making it took. */
  readonly memoryBytes: number;
}

const made = v.nullable(
  v.object({ sha256: v.string(), sizeBytes: v.number(), memoryBytes: v.number() }),
);
const encoder = fileURLToPath(new URL('./delta-encoder.js', import.meta.url));

/**
 * Null when it would be larger than `maxBytes`; then, and after an error, nothing is left of it. Errors: REQUEST_TOO_LARGE,
 * CHILD_FAILED, DEADLINE_EXCEEDED, the signal's reason.
 */
export const makeDelta = async (
  order: DeltaOrder,
  { signal, deadlineMs = 45 * 60_000, maxImageBytes = 256 * 1024 * 1024 }: DeltaLimits,
): Promise<MadeDelta | null> => {
  for (const path of [order.source, order.target]) {
    if (path === null || (await stat(path)).size <= maxImageBytes) continue;
    throw new HoldfastError(
      'REQUEST_TOO_LARGE',
      `no deltas are made of images of more than ${maxImageBytes} bytes`,
    );
  }
  try {
    const { code, stdout, stderr } = await runChild({
      bin: encoder,
      args: [JSON.stringify(order)],
      signal,
      timeoutMs: deadlineMs,
    });
    const result = code === 0 ? v.safeParse(made, parse(stdout)) : undefined;
    if (result?.success !== true) {
      throw new HoldfastError('CHILD_FAILED', `no delta could be made: ${stderr.trim()}`);
    }
    if (result.output !== null) return { format: deltaFormat, ...result.output };
  } catch (error) {
    await removeAll(order.delta);
    throw error;
  }
  await removeAll(order.delta);
  return null;
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    return messageOf(error);
  }
};

const removeAll = async (delta: string): Promise<void> => {
  for (const suffix of ['', '.check', '.check.rebuilding']) {
    await rm(`${delta}${suffix}`, { force: true });
  }
};
