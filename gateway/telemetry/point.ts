/** A point of telemetry and the bytes it is kept as. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';

export interface TelemetryPoint {
  readonly device: string;
  readonly series: string;
  /** By the device's clock where it sends one, else by the site's; epoch ms. */
  readonly ts: number;
  /** Any JSON. */
  readonly value: unknown;
  /** Which start of the device, and its count since then: with both, a point that is sent twice counts once. */
  readonly boot?: string | undefined;
  readonly seq?: number | undefined;
  /** In place of a time that nobody vouches for: which start of the machine, and milliseconds since. `ts` is a guess then. */
  readonly stamp?: { readonly boot: string; readonly mono: number } | undefined;
}

/** Characters of one point's value at most; the broker's limit on a message is lower, a caller inside may err. */
export const maxValueChars = 1024 * 1024;

/**
 * The entry's body as canonical JSON, written without building an object: this runs for every point. REQUEST_INVALID for what no
 * JSON can hold, REQUEST_TOO_LARGE for a value over its limit.
 */
export const encodePoint = ({
  device,
  series,
  ts,
  value,
  boot,
  seq,
  stamp,
}: TelemetryPoint): string => {
  const text = typeof value === 'number' ? encodeNumber(value) : canonicalJson(value);
  if (text.length > maxValueChars) {
    throw new HoldfastError('REQUEST_TOO_LARGE', `a point of ${device} is over its limit`);
  }
  const start = boot === undefined ? '' : `"boot":${canonicalJson(boot)},`;
  const count = seq === undefined ? '' : `"seq":${seq},`;
  const stamped = stamp === undefined ? '' : `"stamp":${canonicalJson(stamp)},`;
  return `{${start}"device":${canonicalJson(device)},${count}"series":${canonicalJson(series)},${stamped}"ts":${ts},"value":${text}}`;
};

const encodeNumber = (value: number): string =>
  Number.isFinite(value) ? JSON.stringify(value) : canonicalJson(value);
