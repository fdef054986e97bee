import * as v from 'valibot';
import { type JsonLimits, type JsonValue, type Parsed, parsePayload } from './json-payload.js';

/** `dt/{id}/commands/{command_id}` down. */
export interface CommandPayload {
  readonly type: string;
  readonly payload?: JsonValue;
  /** Epoch ms; a device that gets it later answers `expired` and does nothing. */
  readonly expires_at: number;
}

/** `dt/{id}/commands/{command_id}/response` up. */
export interface CommandResponsePayload {
  readonly status: 'accepted' | 'in_progress' | 'succeeded' | 'failed' | 'rejected' | 'expired';
  readonly result?: JsonValue;
  readonly error?: string;
}

export const commandLimits: JsonLimits = { maxBytes: 65_536, maxDepth: 16 };

export const parseCommand = (payload: Uint8Array): Parsed<CommandPayload> =>
  parsePayload(commandSchema, payload, commandLimits);

export const parseCommandResponse = (payload: Uint8Array): Parsed<CommandResponsePayload> =>
  parsePayload(responseSchema, payload, commandLimits);

/** By reference: a schema of records would copy, and drop the keys it holds for dangerous. */
const jsonSchema = v.custom<JsonValue>((value) => value !== undefined, 'Expected a JSON value');

const commandSchema = v.object({
  type: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  payload: v.exactOptional(jsonSchema),
  expires_at: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});

const responseSchema = v.object({
  status: v.picklist(['accepted', 'in_progress', 'succeeded', 'failed', 'rejected', 'expired']),
  result: v.exactOptional(jsonSchema),
  error: v.exactOptional(v.pipe(v.string(), v.maxLength(4_096))),
});
