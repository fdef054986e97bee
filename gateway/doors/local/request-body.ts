/** What came with a request, as the type that its route takes. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { reasonOf } from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';

/** Errors: REQUEST_INVALID. */
export const parseBody = <S extends v.GenericSchema>(
  schema: S,
  body: unknown,
): v.InferOutput<S> => {
  const parsed = v.safeParse(schema, body, { abortEarly: true });
  if (parsed.success) return parsed.output;
  throw new HoldfastError('REQUEST_INVALID', reasonOf(parsed.issues));
};
