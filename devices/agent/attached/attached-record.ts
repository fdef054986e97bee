/** What is known of the microcontroller over restarts of the agent: who it said it is, what it reported, what is desired of it (`attached.json`). */
import { join } from 'node:path';
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from '../log.js';

const text = v.pipe(v.string(), v.maxLength(256));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const jsonObject = v.custom<JsonObject>((value) => isJsonObject(value as JsonValue));

const knownHello = v.object({
  model: text,
  version: text,
  boot: text,
  serial_no: v.exactOptional(text),
});

const schema = v.object({
  hello: v.nullable(knownHello),
  reported: jsonObject,
  desired: jsonObject,
  /** How often it was flashed and said the same `boot` again, which says nothing of a new run then. */
  repeats: v.optional(count, 0),
  /** Its line was lent out since its last hello. */
  wasLent: v.optional(v.boolean(), false),
  /** Counts the changes of what is desired, for the microcontroller: a gateway with a new database counts from the beginning. */
  version: count,
});

/** What the microcontroller said of itself last. */
export type KnownHello = v.InferOutput<typeof knownHello>;
export type AttachedKnowledge = v.InferOutput<typeof schema>;
export type AttachedRecord = StoredRecord<AttachedKnowledge>;

export const openAttachedRecord = (dataDir: string, log: Log): Promise<AttachedRecord> =>
  openRecord<AttachedKnowledge>({
    path: join(dataDir, 'attached.json'),
    parse: (value) => v.parse(schema, value),
    initial: {
      ...{ hello: null, reported: {}, desired: {}, version: 0 },
      ...{ repeats: 0, wasLent: false },
    },
    log,
  });
