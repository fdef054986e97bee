import * as v from 'valibot';
import { HoldfastError } from '../errors/holdfast-error.js';
import type { JsonValue } from '../mqtt/json-payload.js';
import type { ShadowOperation, ShadowWriteId } from './shadow-merge.js';

/**
 * Reads operations that came over the link or out of a database. Throws REQUEST_INVALID. What a replica merges it can
 * never refuse for its content, so this checks the shape alone; sizes are bounded by the carrier's batches.
 */
export const parseShadowOperations = (value: unknown): ShadowOperation[] =>
  parse(operationsSchema, value);

/** The same of names of operations. */
export const parseShadowWriteIds = (value: unknown): ShadowWriteId[] => parse(idsSchema, value);

const parse = <T>(schema: v.GenericSchema<unknown, T>, value: unknown): T => {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new HoldfastError('REQUEST_INVALID', `no shadow operations: ${issue.message}`, {
    data: { at: v.getDotPath(issue) },
  });
};

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const path = v.pipe(
  v.array(v.pipe(v.string(), v.notValue('__proto__'))),
  v.minLength(1),
  v.maxLength(64),
  v.check(([section]) => section === 'desired' || section === 'reported', 'no section of a shadow'),
);
const stamp = v.object({
  wall: count,
  counter: count,
  replica: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  writer: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
});

const idSchema = v.object({ path, stamp });
const idsSchema = v.array(idSchema);

/** The value by reference: a schema of records would copy, and drop the keys it holds for dangerous. */
const operationSchema = v.pipe(
  v.object({
    path,
    value: v.exactOptional(v.custom<JsonValue>((value) => value !== undefined, 'no JSON value')),
    stamp,
    over: v.exactOptional(idsSchema),
    trusted: v.exactOptional(v.literal(false)),
  }),
  v.check(({ path, value }) => path.length > 1 || value === undefined, 'a section is no leaf'),
);

const operationsSchema = v.array(operationSchema);
