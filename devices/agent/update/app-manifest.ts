/**
 * `holdfast-app.json`, at the top of every application archive: what the application is and how it is run and found healthy.
 *
 * Errors: `UPDATE_MANIFEST_INVALID`.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parsePayload } from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';

export const manifestName = 'holdfast-app.json';
export const maxManifestBytes = 65_536;

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const seconds = v.pipe(v.number(), v.minValue(0), v.maxValue(3_600));

const schema = v.object({
  name: text,
  version: text,
  /** The program and its arguments, run in the slot's folder; a program with a `/` is looked for there. */
  command: v.pipe(
    v.array(v.pipe(v.string(), v.maxLength(4_096), v.excludes('\0'))),
    v.minLength(1),
    v.maxLength(64),
    v.check(([program]) => program !== '', 'Expected a program'),
  ),
  health: v.variant('type', [
    /** It is healthy once it writes this line to its standard output. */
    v.object({ type: v.literal('ready_line'), line: text }),
    /** It is healthy once this address on the device itself answers 2xx. */
    v.object({
      type: v.literal('http'),
      port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
      path: v.optional(v.pipe(v.string(), v.startsWith('/'), v.maxLength(256)), '/'),
    }),
  ]),
  /** From its start until it must be healthy. */
  deadline_s: v.optional(v.pipe(seconds, v.gtValue(0)), 60),
  /** How long it must then go on running before it is believed. */
  stable_s: v.optional(seconds, 0),
  /** Starts while on trial after which the device goes back. */
  max_starts: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(20)), 3),
});

export type AppManifest = v.InferOutput<typeof schema>;

export const parseManifest = (bytes: Uint8Array): AppManifest => {
  const parsed = parsePayload(schema, bytes, { maxBytes: maxManifestBytes, maxDepth: 8 });
  if (parsed.ok) return parsed.value;
  throw new HoldfastError('UPDATE_MANIFEST_INVALID', `${manifestName}: ${parsed.reason}`);
};
