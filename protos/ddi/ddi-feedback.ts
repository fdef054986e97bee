/** What a client of hawkBit's Direct Device Integration says of an action, and of its cancellation; fields that are not read here are ignored. */
import * as v from 'valibot';
import { invalid, type JsonLimits, type Parsed, parsePayload } from '../mqtt/json-payload.js';

export const ddiExecutions = [
  'closed',
  'proceeding',
  'canceled',
  'scheduled',
  'rejected',
  'resumed',
  'download',
  'downloaded',
] as const;
export type DdiExecution = (typeof ddiExecutions)[number];

export interface DdiFeedback {
  readonly execution: DdiExecution;
  readonly finished: 'success' | 'failure' | 'none';
  /** `of` is 0 where the client counts nothing. */
  readonly progress: { readonly cnt: number; readonly of: number } | null;
  /** Texts for people, the first ones and not at full length. */
  readonly details: readonly string[];
}

/** A log of 48 lines is what SWUpdate sends at most. */
const limits: JsonLimits = { maxBytes: 65_536, maxDepth: 8 };
const mostDetails = 50;
const longestDetail = 512;

const step = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const feedbackSchema = v.object({
  status: v.object({
    execution: v.picklist(ddiExecutions),
    result: v.object({
      finished: v.picklist(['success', 'failure', 'none']),
      progress: v.nullish(v.object({ cnt: step, of: v.nullish(step, 0) })),
    }),
    details: v.nullish(v.array(v.string()), []),
  }),
});

export const parseDdiFeedback = (payload: Uint8Array): Parsed<DdiFeedback> => {
  const read = parsePayload(feedbackSchema, payload, limits);
  const parsed = read.ok || read.code !== 400 ? read : withoutDetails(payload);
  if (!parsed.ok) return read.ok ? parsed : read;
  const { execution, result, details } = parsed.value.status;
  return {
    ok: true,
    value: {
      execution,
      finished: result.finished,
      progress: result.progress ?? null,
      details: (details ?? []).slice(0, mostDetails).map(plain),
    },
  };
};

/**
 * SWUpdate 2022.12 writes its messages between quotes as they are, line feeds and quotes among them, so that the one feedback that says
 * why an installation failed may be no JSON. What is outside of the messages counts all the same.
 */
const withoutDetails = (payload: Uint8Array) => {
  const text = Buffer.from(payload).toString('utf8');
  const from = text.search(/"details"\s*:\s*\[/);
  const to = text.lastIndexOf(']');
  if (from < 0 || to < from) return invalid('The payload is not valid JSON');
  const rest = `${text.slice(0, from)}"details":[]${text.slice(to + 1)}`;
  const parsed = parsePayload(feedbackSchema, Buffer.from(rest), limits);
  if (!parsed.ok) return parsed;
  const details = [text.slice(text.indexOf('[', from) + 1, to)];
  return { ok: true, value: { status: { ...parsed.value.status, details } } } as const;
};

/** For a page: no control characters, and not long. */
const plain = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cs}]+/gu, ' ')
    .trim()
    .slice(0, longestDetail);
