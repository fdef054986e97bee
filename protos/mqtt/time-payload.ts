import * as v from 'valibot';
import { type JsonLimits, type Parsed, parsePayload } from './json-payload.js';

/** `dt/{id}/time/now` down: epoch ms by the gateway's clock, and whether the gateway trusts it. */
export interface TimeNowPayload {
  readonly ts: number;
  readonly trusted: boolean;
}

export const timeLimits: JsonLimits = { maxBytes: 1_024, maxDepth: 4 };

export const parseTimeNow = (payload: Uint8Array): Parsed<TimeNowPayload> =>
  parsePayload(timeNowSchema, payload, timeLimits);

const timeNowSchema = v.object({
  ts: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  trusted: v.boolean(),
});
