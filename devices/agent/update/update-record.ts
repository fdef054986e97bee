/** The record that holds slots, pointer and update: `update.json`, readable by people. */
import * as v from 'valibot';
import type { UpdateState } from './update-state.js';

const text = v.pipe(v.string(), v.maxLength(4_096));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const slot = v.picklist(['a', 'b']);
const outcome = v.picklist(['succeeded', 'failed', 'rolled_back']);

const job = v.object({
  id: text,
  campaignId: text,
  version: text,
  model: text,
  url: text,
  sha256: text,
  sizeBytes: count,
  deltas: v.exactOptional(
    v.array(
      v.object({ fromSha256: text, url: text, format: text, sha256: text, sizeBytes: count }),
    ),
  ),
});
const app = v.nullable(v.object({ version: text, sha256: text, jobId: v.nullable(text) }));
const release = v.optional(
  v.object({
    installer: text,
    securityCounter: count,
    steps: v.array(v.object({ name: text, file: text, timeoutMs: count })),
    part: v.exactOptional(text),
  }),
  // As written before releases were signed.
  { installer: 'slots', securityCounter: 0, steps: [] },
);
const boot = v.optional(v.nullable(text), null);
const onTrial = {
  job,
  release,
  target: slot,
  previous: v.nullable(slot),
  trial: v.object({ deadlineMs: count, maxStarts: count, since: boot }),
  starts: count,
};

const schema = v.object({
  active: v.nullable(slot),
  slots: v.object({ a: app, b: app }),
  securityCounter: v.optional(count, 0),
  update: v.variant('phase', [
    v.object({
      phase: v.literal('idle'),
      last: v.nullable(v.object({ jobId: text, outcome })),
    }),
    v.object({ phase: v.picklist(['downloading', 'verifying']), job }),
    v.object({ phase: v.literal('waiting'), job, release }),
    v.object({
      phase: v.literal('installing'),
      job,
      release,
      target: slot,
      steps: v.optional(v.array(v.object({ name: text, isDone: v.boolean() })), []),
      since: boot,
    }),
    v.object({ phase: v.picklist(['rebooting', 'confirming']), ...onTrial }),
    v.object({
      phase: v.literal('undoing'),
      job,
      release,
      target: slot,
      previous: v.nullable(slot),
      outcome: v.picklist(['failed', 'rolled_back']),
      error: text,
      undoneIn: v.nullable(text),
    }),
    v.object({ phase: v.literal('settled'), job, outcome, error: v.nullable(text) }),
  ]),
});

/** Throws when it is no such record. */
export const parseUpdateState = (value: unknown): UpdateState => v.parse(schema, value);
