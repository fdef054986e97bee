/** The attributes that a device tells by hawkBit's interface: they are reported in its shadow, beneath `attributes`. */

import type { DdiConfigData } from '@holdfast/protos/ddi/ddi-config-data';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { Shadows } from '../../shadows/shadows.js';

export interface DdiAttributesDeps {
  readonly shadows: Pick<Shadows, 'get' | 'request'>;
}

/** Resolves after the commit. Errors: REQUEST_INVALID for more than a shadow holds, STORE_OVERLOADED, those of the store. */
export const reportAttributes = async (
  { shadows }: DdiAttributesDeps,
  device: string,
  said: DdiConfigData,
): Promise<void> => {
  const key = { device, name: classicShadow };
  const before = (await shadows.get(key))?.state.reported?.attributes;
  const attributes = changesOf(isJsonObject(before) ? before : {}, said);
  // It tells them again at every start.
  if (Object.keys(attributes).length === 0) return;
  const outcome = await shadows.request({
    ...{ ...key, type: 'update', writer: `device:${device}` },
    patch: { reported: { attributes } },
  });
  if (outcome.accepted) return;
  const code = outcome.code === 429 ? 'STORE_OVERLOADED' : 'REQUEST_INVALID';
  throw new HoldfastError(code, outcome.message);
};

/** Pure. What is to be written, where null removes. */
export const changesOf = (before: JsonObject, { mode, data }: DdiConfigData): JsonObject => {
  const changes: Record<string, JsonValue> = {};
  const put = (name: string, value: JsonValue): void => {
    // A name may be any, `constructor` too.
    const had = Object.hasOwn(before, name) ? (before[name] ?? null) : null;
    if (had !== value) {
      Object.defineProperty(changes, name, { value, enumerable: true });
    }
  };
  for (const [name, value] of Object.entries(data)) put(name, mode === 'remove' ? null : value);
  if (mode === 'replace') {
    for (const name of Object.keys(before)) if (!Object.hasOwn(data, name)) put(name, null);
  }
  return changes;
};
